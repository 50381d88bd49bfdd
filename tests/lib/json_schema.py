#!/usr/bin/env python3
"""json_schema.py SCHEMA < DOCUMENT: exits 0 if the one document fits, else says where it does not.

Knows the keywords that the schemas of this project use; any other keyword is an error, so that no
rule is skipped unseen.
"""
import json
import re
import sys

NOTES = {"$schema", "title", "description"}


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, kinds[name])


def check_object(value, schema, at):
    known = schema.get("properties", {})
    for key in schema.get("required", []):
        if key not in value:
            yield f"{at}: '{key}' is missing"
    for key, item in value.items():
        if key in known:
            yield from check(item, known[key], f"{at}.{key}")
        elif schema.get("additionalProperties") is False:
            yield f"{at}: '{key}' is not in the schema"
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from check(item, schema["additionalProperties"], f"{at}.{key}")


def check(value, schema, at="document"):
    unknown = set(schema) - NOTES - {"type", "properties", "required",
                                     "additionalProperties", "items",
                                     "enum", "const", "pattern", "minimum", "maximum", "minLength",
                                     "minItems", "maxItems", "anyOf"}
    if unknown:
        yield f"{at}: schema keywords not understood: {sorted(unknown)}"
    if "anyOf" in schema and all(list(check(value, s, at)) for s in schema["anyOf"]):
        yield f"{at}: fits none of {len(schema['anyOf'])} forms: {str(value)[:200]}"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(is_type(value, t) for t in types):
        yield f"{at}: {value!r} is not of type {types}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {value!r} is not {schema['const']!r}"
    if isinstance(value, str):
        short = len(value) < schema.get("minLength", 0)
        if short or not re.search(schema.get("pattern", ""), value):
            yield f"{at}: {value!r} has not the form asked for"
    if is_type(value, "number"):
        if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{at}: {value} is out of range"
    if "anyOf" in schema and not any(not list(check(value, s, at)) for s in schema["anyOf"]):
        yield f"{at}: fits none of the {len(schema['anyOf'])} forms"
    if isinstance(value, dict):
        yield from check_object(value, schema, at)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{at}: {len(value)} items are too few or too many"
        for i, item in enumerate(value):
            yield from check(item, schema.get("items", {}), f"{at}[{i}]")


def no_duplicates(pairs):
    keys = [k for k, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError(f"a key stands twice among {keys}")
    return dict(pairs)


def refuse(name):
    raise ValueError(f"{name} is not JSON")


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        schema = json.load(f)
    text = sys.stdin.buffer.read().decode("utf-8")
    document = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=refuse)
    problems = list(check(document, schema))
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
