# RMSE of configs/small.yaml on plants it has not seen: each komatsuna plant held out once, weights of the last step.
#   sh benchmarks/crossval_small.sh <folder of the data> [seed]
set -eu
root=$1
seed=${2:-0}
for fold in 0 1 2 3 4 5 6; do
    python -m growth fit --config configs/small.yaml --data.root "$root" --data.species '[KM]' --data.num_folds 7 \
        --data.fold $fold --seed_everything "$seed" --name "small$seed/$fold" --trainer.enable_progress_bar false \
        > /dev/null 2>&1
done
python - "$seed" <<'END'
import sys
from pathlib import Path

import numpy as np
import pandas as pd

# Each plant has the same 45 pairs, so the mean of the squares is that over all pairs.
paths = sorted(Path(f"runs/growth/small{sys.argv[1]}").glob("*/latest/metrics.csv"))
rmse = np.array([pd.read_csv(path)["val/rmse"].dropna().iloc[-1] for path in paths])
print("RMSE by plant, days:", *rmse.round(2))
print(f"RMSE over all held-out pairs, days: {np.sqrt((rmse**2).mean()):.3f}")
END
