// A picture of any size to the square the model was trained on, within the browser.

const TYPES = /^image\/(jpeg|png|webp|gif|bmp|avif|heic|heif|svg\+xml)$/;
const MOST_BYTES = 60 * 1024 * 1024;

// The first picture of a drop or a paste; null where there is none.
export function pictureOf(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;
}

// {picture: a PNG data URL of side x side pixels, aspect: width by height to show it in}. The
// whole picture is in it, as in training: squeezed ("square"), or padded with grey first ("pad").
// Throws an Error with a sentence for people.
export async function squared(file, side, preprocessing) {
  if (!TYPES.test(file.type)) throw new Error(`${file.name || "This"} is not a picture I can read.`);
  if (file.size > MOST_BYTES) throw new Error("This picture is over 60 MB.");
  let bitmap;
  try {
    // Turned upright by its EXIF orientation, since that is how people see their photos.
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name || "This picture"} is damaged, or of a kind this browser cannot read.`);
  }
  const whole = preprocessing === "pad" ? padded(bitmap) : bitmap;
  const aspect = whole.width / whole.height;
  const canvas = shrunk(whole, side);
  bitmap.close();
  return { picture: canvas.toDataURL("image/png"), aspect };
}

function padded(bitmap) {
  const side = Math.max(bitmap.width, bitmap.height);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(127 127 127)"; // as imp_data/mobile/pictures.py pads
  context.fillRect(0, 0, side, side);
  context.drawImage(bitmap, (side - bitmap.width) >> 1, (side - bitmap.height) >> 1);
  return canvas;
}

// By halves while it is far larger, since one step of a canvas skips most pixels.
function shrunk(source, side) {
  let { width, height } = source;
  let from = source;
  while (width > 2 * side || height > 2 * side) {
    width = width > 2 * side ? Math.ceil(width / 2) : width;
    height = height > 2 * side ? Math.ceil(height / 2) : height;
    from = drawn(from, width, height);
  }
  return drawn(from, side, side);
}

function drawn(source, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // under transparent parts
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}
