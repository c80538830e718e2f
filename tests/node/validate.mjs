// Checks objects of CRDs (the prometheus-operator's, Istio's, cert-manager's) against what @kubernetes-models makes of them.
//
//   node validate.mjs NODE_MODULES
//
// Reads a JSON list of {"title", "object"} and prints a JSON list of what is wrong. Two checks, because the validators allow
// fields that nobody knows, as API servers do, which drop them: each object also has to be a literal of its TypeScript type,
// in which an unknown field is an error at its place.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "monitoring.coreos.com": "prometheus-operator",
  "extensions.istio.io": "istio",
  "networking.istio.io": "istio",
  "security.istio.io": "istio",
  "telemetry.istio.io": "istio",
  "cert-manager.io": "cert-manager",
};

const modules = resolve(process.argv[2]);
const ts = createRequire(join(modules, "typescript/package.json"))("typescript");

/** The file of the object's kind; none where no package knows it. */
function modelOf({ apiVersion, kind }) {
  const known = PACKAGES[apiVersion.split("/")[0]];
  const file = known && join(modules, "@kubernetes-models", known, apiVersion, `${kind}.js`);
  return file && existsSync(file) ? file : undefined;
}

async function invalid({ title, object }) {
  const model = modelOf(object);
  if (!model) return [`${title}: no schema is known for ${object.kind} of ${object.apiVersion}`];
  const { [object.kind]: Model } = await import(pathToFileURL(model));
  try {
    new Model(object).validate();
    return [];
  } catch (error) {
    return [`${title}: ${error.message}`];
  }
}

/** One source file in memory, a declaration for each object, and what the compiler has against it. */
function mistyped(cases) {
  const starts = [];
  let source = "";
  for (const [index, { object }] of cases.entries()) {
    starts.push(source.length);
    source += `import type { I${object.kind} as T${index} } from ${JSON.stringify(modelOf(object))};\n`;
    source += `export const object${index}: T${index} = ${JSON.stringify(object, null, 1)};\n`;
  }
  const file = join(modules, "..", "cases.ts");
  const options = { noEmit: true, strict: true, types: [], skipLibCheck: true, module: ts.ModuleKind.NodeNext };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.getSourceFile = (name, ...rest) =>
    name === file ? ts.createSourceFile(name, source, ...rest) : getSourceFile(name, ...rest);
  host.fileExists = (name) => name === file || fileExists(name);
  host.readFile = (name) => (name === file ? source : readFile(name));
  return ts.getPreEmitDiagnostics(ts.createProgram([file], options, host)).map(({ start, messageText }) => {
    const title = cases[starts.findLastIndex((begin) => begin <= start)]?.title;
    return `${title}: ${ts.flattenDiagnosticMessageText(messageText, "; ")}`;
  });
}

const cases = JSON.parse(readFileSync(0, "utf8"));
const faults = (await Promise.all(cases.map(invalid))).flat();
faults.push(...mistyped(cases.filter(({ object }) => modelOf(object))));
process.stdout.write(JSON.stringify(faults));
