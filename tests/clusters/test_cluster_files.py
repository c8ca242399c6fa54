"""The cluster files keep the schemas of Ray and KubeRay, and what they name exists here."""

import copy
import gzip
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from longtail.recipe import load_recipe
from longtail.serving import replicas
from longtail.serving.edge.keys import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
CLUSTERS = ROOT / "clusters"
SCHEMAS = Path(os.environ.get("LONGTAIL_SCHEMAS", ROOT.parent / "shared" / "schemas"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RAY_UP = ["local.yaml", "aws.yaml", "gcp.yaml"]
KUBERAY = ["raycluster.yaml", "rayjob.yaml", "rayservice.yaml"]
FILES = [*RAY_UP, *(f"kuberay/{name}" for name in KUBERAY)]


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTERS / name).read_text())


def closed(schema: Any) -> Any:
    """The schema with every object closed that lists its properties, so that a misspelt field is an error."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    free = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and not free:
        parts["additionalProperties"] = False
    return parts


def kuberay_schema(manifest: dict[str, Any]) -> Any:
    file = SCHEMAS / f"ray.io_v1_{manifest['kind'].lower()}s.json.gz"
    if not file.exists():
        pytest.skip(f"{file.name} is not on this machine (set LONGTAIL_SCHEMAS to its folder)")
    return closed(json.loads(gzip.decompress(file.read_bytes())))


def images(node: Any) -> list[str]:
    """Every image that a file names, wherever it stands."""
    if isinstance(node, list):
        return [image for part in node for image in images(part)]
    if not isinstance(node, dict):
        return []
    here = [value for key, value in node.items() if key.endswith("image") and isinstance(value, str)]
    return here + [image for part in node.values() for image in images(part)]


def cluster_spec(name: str) -> dict[str, Any]:
    spec = load(f"kuberay/{name}")["spec"]
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_file_is_valid(name: str) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    jsonschema.validate(load(name), schema)
    validate_config(prepare_config(copy.deepcopy(load(name))))


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_file_is_valid(name: str) -> None:
    manifest = load(f"kuberay/{name}")
    jsonschema.validate(manifest, kuberay_schema(manifest))


@pytest.mark.parametrize("name", KUBERAY)
def test_a_misspelt_field_would_be_found(name: str) -> None:
    manifest = load(f"kuberay/{name}")
    schema = kuberay_schema(manifest)
    manifest["spec"]["rayVersions"] = "2.60.0"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, schema)


@pytest.mark.parametrize("name", FILES)
def test_images_carry_the_version_of_the_project(name: str) -> None:
    found = images(load(name))
    assert found
    for image in found:
        assert re.fullmatch(rf"(REGISTRY/)?longtail:{re.escape(PROJECT['version'])}-(cpu|gpu)", image), image


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_runs_the_ray_of_the_project(name: str) -> None:
    pinned = next(need for need in PROJECT["dependencies"] if need.startswith("ray["))
    assert cluster_spec(name)["rayVersion"] == pinned.rpartition("==")[2] == ray.__version__


@pytest.mark.parametrize("name", FILES)
def test_every_cluster_asks_for_a_token(name: str) -> None:
    if name in RAY_UP:
        file = load(name)
        assert "-e RAY_AUTH_MODE=token" in file["docker"]["run_options"]
        assert file["file_mounts"] == {"/root/.ray/auth_token": "~/.ray/auth_token"}
    else:
        assert cluster_spec(name.removeprefix("kuberay/"))["authOptions"] == {"mode": "token"}


def test_job_and_cluster_start_the_same_machines() -> None:
    assert cluster_spec("rayjob.yaml") == cluster_spec("raycluster.yaml")


def test_rayjob_runs_a_job_that_exists_with_a_recipe_that_loads() -> None:
    python, dash_m, module, *arguments = shlex.split(load("kuberay/rayjob.yaml")["spec"]["entrypoint"])
    assert (python, dash_m) == ("python", "-m")
    parsed = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert parsed.returncode == 0, parsed.stderr
    recipe = arguments[arguments.index("--recipe") + 1]
    changes = [value for flag, value in zip(arguments, arguments[1:], strict=False) if flag == "--set"]
    assert load_recipe(recipe, changes).resources.accelerator == "gpu"


def test_rayservice_deploys_the_serve_file() -> None:
    assert yaml.safe_load(load("kuberay/rayservice.yaml")["spec"]["serveConfigV2"]) == load("serve.yaml")


def test_the_serve_file_deploys_the_application_of_this_repository() -> None:
    (application,) = ServeDeploySchema.model_validate(load("serve.yaml")).applications
    module, _, name = application.import_path.partition(":")
    serving = import_module(module)
    assert callable(getattr(serving, name))
    assert serving.Arguments.model_validate(application.args).workspace


def test_the_serve_file_sets_what_the_deployments_set() -> None:
    """A value that is in the file alone, or in the code alone, or different, would hold in one of both ways only."""
    from longtail.serving.application import Longtail

    (application,) = load("serve.yaml")["applications"]
    told = {one.pop("name"): one for one in application["deployments"]}
    assert set(told) == {Longtail.name}
    for deployment in (Longtail,):
        scaling = told[deployment.name].pop("autoscaling_config")
        assert told[deployment.name] == replicas.DEPLOYMENT
        AutoscalingConfig.model_validate(scaling)
        assert set(scaling) <= set(AutoscalingConfig.model_fields)
        assert scaling["target_ongoing_requests"] < deployment.max_ongoing_requests
        assert deployment.max_ongoing_requests == replicas.DEPLOYMENT["max_ongoing_requests"]
        assert deployment.max_queued_requests == replicas.DEPLOYMENT["max_queued_requests"]


def test_everybody_who_reaches_the_port_needs_a_key() -> None:
    """The replicas refuse to start without keys on such a host; every container that may run one has them."""
    assert load("serve.yaml")["http_options"]["host"] == "0.0.0.0"
    spec = cluster_spec("rayservice.yaml")
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        (key,) = (one for one in container["env"] if one["name"] == ENVIRONMENT)
        assert key["valueFrom"]["secretKeyRef"]["name"] == "longtail-api-keys", "never in the file itself"
        # Serve's proxies drain for 30 s, HAProxy ends its old process after 120 s.
        assert group["template"]["spec"]["terminationGracePeriodSeconds"] >= 150


def test_dockerfile_copies_and_installs_what_exists() -> None:
    text = (CLUSTERS / "Dockerfile").read_text()
    copied = [part for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for part in line.split()]
    installed = re.findall(r"-r (\S+\.txt)", text)
    assert {"app", "jobs", "requirements"} <= set(copied) and installed
    assert all((ROOT / part).exists() for part in [*copied, *installed] if part != "README.md")
    assert f"longtail:{PROJECT['version']}-gpu" in text
