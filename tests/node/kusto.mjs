// Has Kusto's own parser read queries, and names against the tables that there are.
//
//   node kusto.mjs NODE_MODULES
//
// Reads {"tables": {NAME: "(column: type, …)"}, "functions": {NAME: body}, "queries": [{"title", "text"}]} as JSON and prints
// a JSON list of what is wrong.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const folder = join(resolve(process.argv[2]), "@kusto/language-service-next");
const require = createRequire(join(folder, "package.json"));
// Both leave their names in the global scope; the second needs the first.
require("./bridge.min.js");
require("./Kusto.Language.Bridge.min.js");
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

const { tables, functions, queries } = JSON.parse(readFileSync(0, "utf8"));
const symbols = [
  ...Object.entries(tables).map(([name, schema]) => new Symbols.TableSymbol.$ctor7(name, schema, null)),
  ...Object.entries(functions).map(([name, body]) => new Symbols.FunctionSymbol.$ctor16(name, "()", `{ ${body}\n}`, null)),
];
const database = new Symbols.DatabaseSymbol.$ctor1("workspace", symbols, false);
const globals = GlobalState.Default.WithDatabase(database);

const faults = queries.flatMap(({ title, text }) => {
  const diagnostics = KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
  return Array.from({ length: diagnostics.Count }, (_, index) => {
    const { Start, Message } = diagnostics.getItem(index);
    return `${title}, line ${text.slice(0, Start).split("\n").length}: ${Message}`;
  });
});
process.stdout.write(JSON.stringify(faults));
