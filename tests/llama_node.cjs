// Asks the desktop twin of llama.rn about a picture: node llama_node.cjs TEXT.gguf VISION.gguf PICTURE.png
const { loadModel } = require('@fugood/llama.node');

async function main() {
  const [model, mmproj, picture] = process.argv.slice(2);
  const context = await loadModel({ model, n_ctx: 512, n_threads: 1, flash_attn_type: 'off' });
  const sees = await context.initMultimodal({ path: mmproj, use_gpu: false });
  // It joins picture and text by a newline itself; llama.cpp's server does not.
  const content = [
    { type: 'image_url', image_url: { url: picture } },
    { type: 'text', text: 'What is it?' },
  ];
  // The likeliest token at each place: with temperature 0 alone it still draws others now and then.
  const asked = { messages: [{ role: 'user', content }], n_predict: 4, top_k: 1 };
  const { text } = await context.completion(asked);
  console.log(JSON.stringify({ sees, text }));
  await context.release();
}

main().catch((error) => { console.error(error); process.exit(1); });
