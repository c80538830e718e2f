"""The official client of MLflow's tracking server: mlflow_client.py URL STEP

STEP is `track` or `other`. Prints as JSON what the server holds afterwards: the number of experiments beside the default
one, and the number of runs by status.
"""

import json
import sys
from collections import Counter

import mlflow
import requests
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

FINISHED, FAILED, KILLED = 4, 3, 2

url, step = sys.argv[1:3]
mlflow.set_tracking_uri(url)
client = mlflow.MlflowClient()


def refused(call, *arguments):
    try:
        call(*arguments)
    except MlflowException:
        return
    raise AssertionError(f"{call} was accepted")


def in_browser(path, **body):
    """The same call as the server's own pages make."""
    answer = requests.post(f"{url}/ajax-api/2.0/mlflow/{path}", json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def track():
    """Experiments and runs, one of which does not end."""
    for name in ["churn", "fraud"]:
        client.create_experiment(name)
    for name in ["churn", "income", "income"]:
        mlflow.set_experiment(name)
    for number in range(FINISHED):
        with mlflow.start_run(tags={"team": "risk"}):
            mlflow.log_param("depth", number)
            mlflow.log_metrics({"auc": 0.9, "loss": 0.1})
    for _ in range(FAILED):
        try:
            with mlflow.start_run():
                mlflow.log_metric("auc", 0.5)
                raise ValueError("no data")
        except ValueError:
            pass
    for _ in range(KILLED):
        mlflow.start_run()
        mlflow.end_run("KILLED")
    client.create_run(client.get_experiment_by_name("churn").experiment_id)


def other():
    """One more experiment, and three updates of runs by the client. The other calls count as neither."""
    run = mlflow.search_runs(search_all_experiments=True, filter_string="status = 'FINISHED'").run_id[0]
    with mlflow.start_run(run):
        mlflow.log_metric("auc", 0.8)
    client.update_run(run, name="renamed")
    client.set_tag(run, "mlflow.runName", "tagged")
    client.delete_run(run)
    client.restore_run(run)
    in_browser("runs/update", run_id=run, run_name="again")
    refused(client.create_experiment, "churn")
    refused(client.update_run, "0" * 32, "FINISHED")
    experiment = in_browser("experiments/create", name="prompts")["experiment_id"]
    tried = in_browser(
        "runs/create-promptlab-run",
        experiment_id=experiment,
        prompt_template="Say {{ word }}.",
        prompt_parameters=[{"key": "word", "value": "yes"}],
        model_route="tiny",
        model_input="Say yes.",
        model_output="yes",
        mlflow_version=mlflow.__version__,
    )
    assert tried["run"]["info"]["status"] == "FINISHED", tried


{"track": track, "other": other}[step]()
experiments = client.search_experiments(view_type=ViewType.ALL)
runs = client.search_runs([experiment.experiment_id for experiment in experiments], run_view_type=ViewType.ALL)
print(
    json.dumps(
        {
            "experiments": len([experiment for experiment in experiments if experiment.name != "Default"]),
            "runs": Counter(run.info.status for run in runs),
        }
    )
)
