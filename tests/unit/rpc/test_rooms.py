"""Where an RPC lives: in its service's folder, in the module whose first line names it, and in no other."""

import ast
import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from osqueue_service.rpc.services import ADMIN, QUEUE, STANDBY

RPC = Path(__file__).resolve().parents[3] / "osqueue_service" / "rpc"


def served(folder: Path) -> dict[str, list[str]]:
    """By module, the RPCs that its classes define."""
    found = {}
    for path in folder.glob("*.py"):
        classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        methods = [each.name for node in classes for each in node.body if isinstance(each, ast.AsyncFunctionDef)]
        if rpcs := [name for name in methods if name[0].isupper()]:
            found[path.name] = rpcs
    return found


def folder_of(service: ServiceDescriptor) -> Path:
    return RPC / re.sub(r"(?<!^)(?=[A-Z])", "_", service.name).lower()


@pytest.mark.parametrize("service", [QUEUE, ADMIN, STANDBY], ids=lambda service: service.name)
class TestServices:
    def test_each_rpc_is_in_one_module_of_its_services_folder(self, service):
        rpcs = sorted(rpc for rpcs in served(folder_of(service)).values() for rpc in rpcs)
        assert rpcs == sorted(method.name for method in service.methods)

    def test_the_first_line_of_a_module_names_its_rpcs(self, service):
        for module, rpcs in served(folder_of(service)).items():
            first = (folder_of(service) / module).read_text().split("\n", 1)[0]
            assert set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b", first.partition(":")[0])) == set(rpcs), module


def test_beside_the_folders_are_only_the_rpcs_that_are_not_ours():
    assert served(RPC) == {"health.py": ["List", "Watch"], "reflection.py": ["ServerReflectionInfo"]}
