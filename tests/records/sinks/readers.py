"""What was logged, read back with each tool's own reader: {metric: [(step, value), …]}."""

import csv
import json
import os
import subprocess
import sys


def read_csv(out):
    """Under the names of its columns; cells that are empty are left out."""
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    unit = next(iter(rows[0]))
    return {
        name: [(int(row[unit]), float(row[name])) for row in rows if row[name]] for name in rows[0]
    }


def read_tensorboard(out):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def wandb_records(out):
    """Every record of the only offline run, by the inspector of ``wandb leet``."""
    (file,) = out.glob("wandb/offline-run-*/run-*.wandb")
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "WANDB_CONFIG_DIR": str(out), "WANDB_ERROR_REPORTING": "false"},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_wandb(out):
    read = {}
    for record in wandb_records(out):
        if record["type"] == "history":
            item = record["history"]["item"]
            for name in (name for name in item if not name.startswith("_")):
                read.setdefault(name, []).append((int(item["_step"]), item[name]))
    return read


def mlflow_run(out):
    """The client of the store, and the only run of the experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{out}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("fedjax-rl")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def read_mlflow(out):
    client, run = mlflow_run(out)
    return {
        name: [
            (entry.step, entry.value) for entry in client.get_metric_history(run.info.run_id, name)
        ]
        for name in run.data.metrics
    }
