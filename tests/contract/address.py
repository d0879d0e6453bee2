"""Prints where the node whose log is in the file listens, once it serves; ends with 1 before."""

import json
import sys

address = None
for line in open(sys.argv[1], encoding="utf-8"):
    if not line.endswith("\n"):
        break
    said = json.loads(line)
    fields = said.get("fields", said)
    if fields.get("message") == "http listens":
        address = fields["address"]
    if fields.get("message") == "serving" and address:
        print(address)
        sys.exit(0)
sys.exit(1)
