"""A whole task in one small package: the colour of a square, told from 40 drawn images."""
