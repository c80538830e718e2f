// Checks objects of the prometheus-operator and of Istio against the schemas that @kubernetes-models makes of their CRDs.
//
//   node validate.mjs NODE_MODULES
//
// Reads a JSON list of {"title", "object"} and prints a JSON list of what is wrong. The schemas allow fields that nobody
// knows, as API servers do, which drop them; so each field's name has also to be one that the group's types have.

import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "extensions.istio.io": "@kubernetes-models/istio",
  "networking.istio.io": "@kubernetes-models/istio",
};

/** Objects whose keys are the writer's own. */
const FREE = ["matchLabels", "labels", "annotations", "pluginConfig", "value"];

function fieldsOf(folder) {
  const types = readdirSync(folder).filter((file) => file.endsWith(".d.ts"));
  const text = types.map((file) => readFileSync(join(folder, file), "utf8")).join("\n");
  return new Set([...text.matchAll(/^\s+"(\w+)"\??:/gm)].map(([, name]) => name));
}

function unknown(value, known) {
  if (Array.isArray(value)) return value.flatMap((item) => unknown(item, known));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, field]) => [
    ...(known.has(name) ? [] : [name]),
    ...(FREE.includes(name) ? [] : unknown(field, known)),
  ]);
}

/** What LabelSelector and NamespaceSelector have, whose types are in other packages. */
const SHARED = ["matchLabels", "matchExpressions", "key", "operator", "values", "any", "matchNames"];

async function faults({ title, object }) {
  const [group] = object.apiVersion.split("/");
  const module = join(process.argv[2], PACKAGES[group], object.apiVersion, "index.js");
  const { [object.kind]: Model } = await import(pathToFileURL(module));
  const known = new Set([...fieldsOf(dirname(module)), ...SHARED]);
  const found = unknown(object.spec, known).map((name) => `${title}: no field is called ${name}`);
  try {
    new Model(object).validate();
    return found;
  } catch (error) {
    return [...found, `${title}: ${error.message}`];
  }
}

const cases = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify((await Promise.all(cases.map(faults))).flat()));
