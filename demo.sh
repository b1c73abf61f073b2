# What `make demo` runs, in the folder demo: a synthetic set, a short fit and a submission for each task.
set -eu
configs=$PWD/configs
rm -rf demo
mkdir demo
cd demo

echo "== growth: days between two photos of a plant =="
python -m growth.synthetic data/growth
python -m growth fit --config "$configs/demo.yaml"
python -m growth predict --ckpt_path last
python -m growth feature_maps --ckpt_path last --image "$(find data/growth/train_dataset -name '*DAT10.png' | sort | head -n 1)"

echo
echo "== julia: characters =="
python -m julia.synthetic data/julia
python -m julia fit --trainer.max_epochs 10
python -m julia predict --ckpt_path last
python -m common.compare runs/julia --html runs.html

echo
echo "Done. In the folder demo:"
echo "  data         data/growth, data/julia"
echo "  runs         runs/growth/resnet18/latest, runs/julia/resnet18/latest"
echo "               (config.yaml, run.json, metrics.csv, checkpoints/; for julia also confusion.csv)"
echo "  pictures     pictures/ in each of these: learning curves, errors, the worst predictions;"
echo "               DAT10_features.png, DAT10_attribution.png: what the growth network sees in one photo"
echo "  comparison   runs.html, to open in a browser"
echo "  submissions  submission_last.csv in each of these, with submission_last_items.csv beside it"
echo "Next: put the competitions' files into data/growth and data/julia (see README.md) and type"
echo "  . .venv/bin/activate && python -m growth fit --config configs/resnext.yaml"
echo "  . .venv/bin/activate && python -m julia fit"
