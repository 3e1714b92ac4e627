"""Run with the Python of the tool kubernetes-validate, which has YAML and JSON Schema: answers a request on its input.

{"yaml": text, "schemas": {kind: schema}, "versions": [...]} is answered by {"documents": [...], "problems": [...]}.
A document of a kind in `schemas` is held against that schema, or all documents against `schemas["*"]`; any other
against those of the Kubernetes versions.
"""

import json
import sys
from typing import Any

import jsonschema
import kubernetes_validate
import yaml


def problems_of(document: Any, schemas: dict[str, Any], versions: list[str]) -> list[str]:
    schema = schemas.get("*") or schemas.get(document.get("kind", ""))
    if schema:
        kind = jsonschema.validators.validator_for(schema)
        return [f"{error.json_path}: {error.message}" for error in kind(schema).iter_errors(document)]
    found = []
    for version in versions:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{document['kind']} against {version}: {error}")
    return found


def main() -> None:
    asked = json.load(sys.stdin)
    documents = [each for each in yaml.safe_load_all(asked["yaml"]) if each is not None]
    schemas, versions = asked.get("schemas", {}), asked.get("versions", [])
    problems = [problem for each in documents for problem in problems_of(each, schemas, versions)]
    json.dump({"documents": documents, "problems": problems}, sys.stdout)


if __name__ == "__main__":
    main()
