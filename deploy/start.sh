#!/usr/bin/env bash
# Begin a run with these flags in $CROSSFOLD_FOLDER, or go on with the one that was interrupted there.
# A batch system that starts the same job again, on whatever machines, so loses no finished epoch.
# A run that goes on keeps its settings; the cluster is $RAY_ADDRESS, the tracker
# $MLFLOW_TRACKING_URI, which is not in the settings if it has a password.
set -euo pipefail

mkdir -p "$CROSSFOLD_FOLDER"
cd "$CROSSFOLD_FOLDER"
if compgen -G '.crossfold/*/run.json' > /dev/null; then # it is gone once a run is finished
  set -- --resume latest
fi
exec python -m distributed.cv "$@" # in place of this shell, so that signals reach it
