"""Kaggle "First Steps With Julia": one character bitmap → one of 62 classes."""
