#!/usr/bin/env node
// A `solc` for forge where no native one is installed: npm's WebAssembly build behind the two flags that forge uses,
// `--version` and `--standard-json`. Point FOUNDRY_SOLC at this file.
'use strict';

const { existsSync, readFileSync } = require('node:fs');
const { join, resolve, isAbsolute } = require('node:path');

/** The folder of npm's `solc`: $SOLC_JS, then what `cargo xtask provision` installed, then Node's own search. */
function packageFolder() {
  const provisioned = process.env.FOREBLOCK_PROVISION_DIR || join(__dirname, '../../target/provision');
  const candidates = [process.env.SOLC_JS, join(provisioned, 'npm/node_modules/solc')];
  const found = candidates.find((folder) => folder && existsSync(join(folder, 'soljson.js')));
  if (found) return found;
  try {
    return join(require.resolve('solc/package.json'), '..');
  } catch {
    return fail('npm package `solc` not found: run `cargo xtask provision`, or set SOLC_JS to its folder');
  }
}

function fail(message) {
  process.stderr.write(`solc.js: ${message}\n`);
  process.exit(1);
}

function parse(argv) {
  const options = { action: null, roots: [], file: null };
  for (let i = 0; i < argv.length; i++) {
    const [flag, inline] = argv[i].split(/=(.*)/s);
    const value = () => inline ?? argv[++i];
    if (flag === '--version') options.action = 'version';
    else if (flag === '--standard-json') options.action = 'compile';
    else if (flag === '--base-path') options.roots.unshift(value());
    else if (flag === '--include-path' || flag === '-I') options.roots.push(value());
    else if (flag === '--allow-paths') value();
    else if (flag.startsWith('-') && flag !== '-') fail(`${flag} is not supported, only --version and --standard-json`);
    else options.file = flag === '-' ? null : flag;
  }
  return options;
}

function reader(roots) {
  return (path) => {
    const places = isAbsolute(path) ? [path] : roots.map((root) => resolve(root, path));
    const place = places.find((candidate) => existsSync(candidate));
    return place ? { contents: readFileSync(place, 'utf8') } : { error: `not found at ${places.join(', ')}` };
  };
}

/** The WebAssembly build reads no `urls`: their content is put in their place. */
function inlineUrls(input, read) {
  for (const source of Object.values(input.sources ?? {})) {
    if (source.content !== undefined) continue;
    const hit = (source.urls ?? []).map(read).find((result) => result.contents !== undefined);
    if (hit) {
      source.content = hit.contents;
      delete source.urls;
    }
  }
  return input;
}

const options = parse(process.argv.slice(2));
if (options.action === 'version') {
  const version = require(packageFolder()).version().replace('Emscripten.clang', 'Linux.g++');
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else if (options.action === 'compile') {
  const read = reader(options.roots.length > 0 ? options.roots : [process.cwd()]);
  const input = inlineUrls(JSON.parse(readFileSync(options.file ?? 0, 'utf8')), read);
  process.stdout.write(require(packageFolder()).compile(JSON.stringify(input), { import: read }));
} else {
  fail('expected --version or --standard-json');
}
