// Runs the instructions for llama.rn in its desktop twin: node llama_node.cjs README.md IMAGE.png
const fs = require('fs');
const path = require('path');
const { loadModel } = require('@fugood/llama.node');

async function main() {
  const [readme, squaredImage] = process.argv.slice(2);
  const [, code] = fs.readFileSync(readme, 'utf8').match(/```js\n([^]*?)```/);
  // The twin calls it otherwise; nothing else differs.
  const lines = code.replace(/^import .*'llama\.rn'$/m, '');
  if (lines === code) throw new Error(`${readme} imports nothing from llama.rn`);
  const run = new Function(
    'initLlama', 'folder', 'squaredImage',
    `return (async () => { ${lines}\nawait context.release(); return text })()`,
  );
  const text = await run(loadModel, path.dirname(path.resolve(readme)), squaredImage);
  console.log(JSON.stringify({ text }));
}

main().catch((error) => { console.error(error); process.exit(1); });
