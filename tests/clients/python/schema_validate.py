"""Validates TOML files by a JSON schema: SCHEMA FILE..., and prints for each file null, or what is wrong with it."""

import json
import sys
import tomllib

import jsonschema


def mistake(validator, path):
    with open(path, "rb") as file:
        try:
            document = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            return f"no TOML: {error}"
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    return "; ".join(errors) or None


with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
print(json.dumps({path: mistake(validator, path) for path in sys.argv[2:]}))
