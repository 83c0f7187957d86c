// An image of any kind to what the model sees of it.

import * as model from "./model.js";

const READ = /^image\/(jpeg|png|webp|gif|bmp|avif)$/; // as imp_data/mobile/chat/images.py
const MOST_BYTES = 20 * 1024 * 1024;
const LONGEST_SIDE = 4096;

// The first image of a drop or a paste; null where there is none.
export function imageOf(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;
}

// {image, aspect} as model.squared gives them. The server decodes the file itself, since a
// browser's colours and sizes are not those of training; only a kind that it does not read (HEIC,
// SVG), or a file too long to send, goes there as this browser sees it. Throws an Error with a
// sentence for people.
export async function squared(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name || "This image"} is damaged, or of a kind this browser cannot read.`);
  }
  try {
    return await model.squared(READ.test(file.type) && file.size <= MOST_BYTES ? file : await drawn(bitmap));
  } finally {
    bitmap.close();
  }
}

function drawn(bitmap) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // under transparent parts, as in training
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
