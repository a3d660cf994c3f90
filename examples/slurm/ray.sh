#!/bin/bash
#SBATCH --job-name=wmloop --nodes=2 --ntasks-per-node=1 --exclusive --time=4:00:00 --output=%x-%j.log
#SBATCH --requeue --open-mode=append --signal=B:USR1@120
# One Ray cluster on all nodes of the job, and a command on the first of them: sbatch ray.sh wmloop study my.toml --on ray
# ray and wmloop have to be on the PATH: activate their environment before sbatch.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$first:$((20000 + SLURM_JOB_ID % 10000))
export RAY_USAGE_STATS_ENABLED=0 RAY_ADDRESS="$address"
# Before its time limit the job asks the command alone to save: Ray, asked to end, would end it at once.
folder=$(mktemp -d)
command=$folder/pid
trap 'asked=1; kill -TERM "$(cat "$command" 2> /dev/null || echo $step)"' USR1
srun ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --temp-dir "/tmp/ray-$SLURM_JOB_ID" -- \
    bash -c 'echo $$ > "$0"; exec "$@"' "$command" "$@" &
step=$!
while kill -0 $step 2> /dev/null; do
    wait $step # a signal ends the waiting, not the step
    code=$?
done
rm -rf "$folder"
[ -n "$asked" ] && [ $code != 0 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code
