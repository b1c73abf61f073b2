# What `make demo` runs: synthetic data of both tasks, a short fit and a submission of each, in ./demo.
set -eu
WANDB_MODE=${WANDB_MODE:-offline}
export WANDB_MODE
rm -rf demo
mkdir demo
cd demo

echo "== julia: characters =="
python -m julia.synthetic data/julia
python -m julia fit --trainer.max_epochs 10
python -m julia predict --ckpt_path last

echo
echo "Done. In the folder demo:"
echo "  data         data/julia"
echo "  runs         runs/julia/resnet18/latest (config.yaml, metrics.csv, confusion.csv, checkpoints)"
echo "  submissions  runs/julia/resnet18/latest/submission_last.csv"
echo "Next: put the competition's files in data/julia (see README) and type"
echo "  . .venv/bin/activate && python -m julia fit"
