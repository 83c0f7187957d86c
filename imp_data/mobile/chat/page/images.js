// Convert a file to the square image that the model receives.

import * as model from "./model.js";

const SERVER_FORMATS = /^image\/(jpeg|png|webp|gif|bmp|avif)$/; // the formats of imp_data/mobile/chat/images.py
const MAX_BYTES = 8 * 1024 * 1024; // MAX_IMAGE_BYTES of imp_data/mobile/chat/images.py
const MAX_SIDE = 4096;

// The first image of a drop or a paste, or null.
export function firstImage(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;
}

// {image, aspect} from model.squareImage. The server decodes the file itself, since a browser's
// colours and sizes differ from those of training; this browser converts only formats that the
// server does not read (HEIC, SVG) and files that are too large to send. Throws an Error whose
// message is shown to the user.
export async function squareImage(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name || "This image"} is damaged or in a format that this browser cannot read.`);
  }
  try {
    return await model.squareImage(SERVER_FORMATS.test(file.type) && file.size <= MAX_BYTES ? file : await redraw(bitmap));
  } finally {
    bitmap.close();
  }
}

async function redraw(bitmap) {
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // behind transparent parts, as in training
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const encode = (format) => new Promise((resolve) => canvas.toBlob(resolve, format, 0.95));
  const exact = await encode("image/png");
  return exact.size <= MAX_BYTES ? exact : await encode("image/jpeg"); // a photo's PNG is too large
}
