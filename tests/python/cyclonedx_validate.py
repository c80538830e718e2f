"""Checks bills of materials against CycloneDX's schema: prints what is wrong with the files that are named."""

import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

validator = JsonStrictValidator(SchemaVersion.V1_6)
for file in sys.argv[1:]:
    with open(file, encoding="utf-8") as bill:
        error = validator.validate_str(bill.read())
    if error:
        print(f"{file}: {error}")
