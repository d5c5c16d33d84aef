"""The KubeRay manifest and the Dockerfile: what can be checked of them without a cluster.

KubeRay's own schema is not at hand offline. The keys checked are those of its v1 API types (``RayJobSpec``,
``RayClusterSpec``, ``HeadGroupSpec``, ``WorkerGroupSpec``, ``AutoscalerOptions``) and of Kubernetes' pods, as far as
the manifest uses them; a key that none of them has is an error, as it would be there.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from fer_batch import Resources
from fer_batch.nodes import Node, spread
from fer_batch.scratch import SHARED_MEMORY
from tests.conftest import ROOT
from tests.test_cli import COMMANDS

FOLDER = ROOT / "jobs" / "cluster"

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
"""Kubernetes refuses numbers and booleans where it wants texts: they need quotes in YAML."""

COUNT = {"type": "integer", "minimum": 0}


def strict(required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    """The schema of an object that has these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def listed(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


SECRET = strict(("name", "key"), name={"type": "string"}, key={"type": "string"})
ENVIRONMENT = listed(
    {
        "oneOf": [
            strict(("name", "value"), name={"type": "string"}, value={"type": "string"}),
            strict(("name", "valueFrom"), name={"type": "string"}, valueFrom=strict((), secretKeyRef=SECRET)),
        ]
    }
)
SECURITY = strict(
    ("runAsNonRoot", "allowPrivilegeEscalation"),
    runAsNonRoot={"const": True},
    runAsUser=COUNT,
    allowPrivilegeEscalation={"const": False},
    capabilities=strict((), drop={"const": ["ALL"]}),
)
POD_SECURITY = strict(("fsGroup",), fsGroup=COUNT, fsGroupChangePolicy={"enum": ["OnRootMismatch", "Always"]})
CONTAINER = strict(
    ("name", "image", "env"),
    name={"type": "string"},
    image={"type": "string"},
    env=ENVIRONMENT,
    ports=listed(strict(("containerPort",), name={"type": "string"}, containerPort=COUNT)),
    resources=strict(("requests", "limits"), requests=TEXTS, limits=TEXTS),
    securityContext=SECURITY,
    volumeMounts=listed(strict(("name", "mountPath"), name={"type": "string"}, mountPath={"type": "string"})),
)
VOLUME = strict(
    ("name",),
    name={"type": "string"},
    persistentVolumeClaim=strict(("claimName",), claimName={"type": "string"}),
    emptyDir=strict((), medium={"const": "Memory"}, sizeLimit={"type": "string"}),
)
TOLERATION = strict((), key={"type": "string"}, operator={"enum": ["Exists", "Equal"]}, effect={"type": "string"})
POD = strict(
    ("spec",),
    spec=strict(
        ("containers", "restartPolicy"),
        containers=listed(CONTAINER),
        volumes=listed(VOLUME),
        restartPolicy={"const": "Never"},  # what Ray's second autoscaler wants: a node that died is another node
        tolerations=listed(TOLERATION),
        securityContext=POD_SECURITY,
    ),
)
HEAD = strict(
    ("rayStartParams", "template"),
    rayStartParams=TEXTS,
    template=POD,
    serviceType={"const": "ClusterIP"},  # nothing of it is reached from outside
)
GROUP = strict(
    ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
    groupName={"type": "string"},
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    rayStartParams=TEXTS,
    template=POD,
)
CLUSTER = strict(
    ("headGroupSpec", "rayVersion"),
    rayVersion={"type": "string"},
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=strict(
        (),
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        idleTimeoutSeconds=COUNT,
        env=ENVIRONMENT,
    ),
    headGroupSpec=HEAD,
    workerGroupSpecs=listed(GROUP),
)
RAY_JOB = strict(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=strict(("name",), name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 47}),
    spec=strict(
        ("entrypoint", "rayClusterSpec"),
        entrypoint={"type": "string"},
        backoffLimit=COUNT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        submitterPodTemplate=POD,
        rayClusterSpec=CLUSTER,
    ),
)


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    """The manifest, which is one document."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    return loaded


def pods(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    found = {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    return found | {"head": cluster["headGroupSpec"]["template"]["spec"]}


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions, with continued lines joined."""
    lines = [line for line in (FOLDER / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def test_the_manifest_has_kuberays_keys_and_no_others(job: dict[str, Any]) -> None:
    jsonschema.validate(job, RAY_JOB)


def test_the_schema_sees_what_is_wrong(job: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**job, "spec": {**job["spec"], "entryPoint": "x"}}, RAY_JOB)
    head = {**job["spec"]["rayClusterSpec"]["headGroupSpec"], "rayStartParams": {"num-cpus": 0}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(head, HEAD)


def test_what_the_manifest_starts_exists(job: dict[str, Any]) -> None:
    program, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("fer-batch", "run")
    assert command in COMMANDS
    mounted = [mount["mountPath"] for mount in pods(job)["head"]["containers"][0]["volumeMounts"]]
    assert any(arguments[0].startswith(path + "/") for path in mounted)


def test_ray_and_the_image_are_of_one_version_everywhere(job: dict[str, Any]) -> None:
    ray = job["spec"]["rayClusterSpec"]["rayVersion"]
    arguments = dict(rest.split("=", 1) for name, rest in dockerfile() if name == "ARG")
    assert arguments["RAY_VERSION"] == ray
    (wanted,) = [found for text in PROJECT["dependencies"] if (found := Requirement(text)).name == "ray"]
    assert Version(ray) in wanted.specifier
    assert set(arguments["EXTRAS"].split(",")) <= set(PROJECT["optional-dependencies"])
    python = re.search(r"^python:(\d+\.\d+)-", dict(dockerfile())["FROM"])
    assert python is not None
    assert Version(python[1]) in SpecifierSet(PROJECT["requires-python"])
    images = {container["image"] for pod in pods(job).values() for container in pod["containers"]}
    images.add(job["spec"]["submitterPodTemplate"]["spec"]["containers"][0]["image"])
    assert images == {f"REGISTRY/fer-batch:{PROJECT['version']}", f"REGISTRY/fer-batch:{PROJECT['version']}-gpu"}
    built = re.findall(r"-t (REGISTRY/\S+)", (FOLDER / "Dockerfile").read_text())
    assert set(built) == images


def test_crops_stay_in_memory_and_nobody_enters_without_the_token(job: dict[str, Any]) -> None:
    for name, pod in pods(job).items():
        memory = [volume["name"] for volume in pod["volumes"] if volume.get("emptyDir", {}).get("medium") == "Memory"]
        for container in pod["containers"]:
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert [mounts[volume] for volume in memory] == ["/dev/shm"], name  # noqa: S108 - the name of a mount
            environment = {item["name"]: item.get("value", "secret") for item in container["env"]}
            assert environment["RAY_automatic_object_spilling_enabled"] == "0"
            assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
            assert (environment["RAY_AUTH_MODE"], environment["RAY_AUTH_TOKEN"]) == ("token", "secret")


def test_who_runs_may_write_to_a_fresh_volume(job: dict[str, Any]) -> None:
    for name, pod in pods(job).items():
        users = {container["securityContext"]["runAsUser"] for container in pod["containers"]}
        assert users == {pod["securityContext"]["fsGroup"]}, name


def test_a_full_object_store_goes_on_in_memory(job: dict[str, Any]) -> None:
    """As :mod:`fer_batch.memory_only` asks of a node."""
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["rayStartParams"]["object-spilling-directory"] == str(SHARED_MEMORY)
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    starts = re.findall("^ray start .+", page, flags=re.MULTILINE)
    assert len(starts) == 2
    assert all(f"--object-spilling-directory={SHARED_MEMORY}" in line for line in starts)


def test_each_group_does_what_it_is_for(job: dict[str, Any]) -> None:
    """The nodes that the manifest makes, given to the rules that place work."""
    cluster = job["spec"]["rayClusterSpec"]
    nodes = []
    for group in [{**cluster["headGroupSpec"], "groupName": "head"}, *cluster["workerGroupSpecs"]]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        cpus = float(group["rayStartParams"].get("num-cpus", limits["cpu"]))
        memory = int(limits["memory"].removesuffix("Gi")) * 2**30
        nodes.append(Node(group["groupName"], cpus, float(limits.get("nvidia.com/gpu", 0)), int(0.6 * memory)))
    placed = spread(nodes, Resources(address="auto"), on_gpu=True)
    assert set(placed) == {"decode", "score"}
    assert (placed["decode"].workers, placed["decode"].actors) == (8, 0)
    assert (placed["score"].actors, placed["score"].actor_gpus) == (1, 1)
    assert cluster["enableInTreeAutoscaling"]
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] < group["maxReplicas"]


def test_the_dockerfile_copies_what_exists_and_all_packages() -> None:
    instructions = dockerfile()
    known = {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "USER", "ENV"}
    assert instructions[0][0] == "FROM"
    assert {name for name, _ in instructions} <= known
    sources = [source for name, rest in instructions if name == "COPY" for source in shlex.split(rest)[:-1]]
    assert all((ROOT / source).exists() for source in sources), sources
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(build["packages"]) <= set(sources)
    assert {PROJECT["readme"], *PROJECT["license-files"]} <= set(sources)
    allowed = {line[1:] for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert set(sources) == allowed  # no more enters the build than is copied
    assert [rest for name, rest in instructions if name == "USER"] == ["1000"]
