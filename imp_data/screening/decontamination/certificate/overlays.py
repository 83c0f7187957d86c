"""Put text, marks and pages of a browser over or around an RGB image."""

from PIL import Image, ImageDraw, ImageFont

from imp_data.screening.decontamination.certificate.transforms import place_on

_WORDS = "Photograph from the archive"
_PAGE_GREY, _BAR_GREY = (248, 249, 250), (222, 225, 230)


def add_caption_bar(image: Image.Image, share: float, top: bool) -> Image.Image:
    """Add a bar with a line of text above or below the image, `share` of its height."""
    width, height = image.size
    bar = max(round(height * share), 1)
    copy = place_on(image, (width, height + bar), (0, bar if top else 0), "white")
    font = ImageFont.load_default(max(bar // 2, 6))
    middle = (width // 2, bar // 2 if top else height + bar // 2)
    ImageDraw.Draw(copy).text(middle, "When the archive is right", "black", font, anchor="mm")
    return copy


def screenshot(image: Image.Image) -> Image.Image:
    """Show the image in a page of a browser: a bar above, margins of 6 %, text below."""
    width, height = image.size
    margin, bar = max(round(width * 0.06), 2), max(round(height * 0.1), 4)
    size = (width + 2 * margin, height + 2 * bar)
    page = place_on(image, size, (margin, bar), _PAGE_GREY)
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, size[0], bar * 2 // 3), _BAR_GREY)
    font = ImageFont.load_default(max(bar // 3, 6))
    draw.text((margin, bar // 3), "‹  ›   archive.example/album", "#3c4043", font, anchor="lm")
    draw.text((margin, height + bar * 3 // 2), "12 comments", "#3c4043", font, anchor="lm")
    return page


def add_text(image: Image.Image) -> Image.Image:
    """Add a line of white text near the lower edge, a twelfth of the height, outlined."""
    copy = image.copy()
    width, height = copy.size
    font = ImageFont.load_default(max(height // 12, 6))
    place = (width // 20, height * 5 // 6)
    ImageDraw.Draw(copy).text(place, _WORDS, "white", font, stroke_width=1, stroke_fill="black")
    return copy


def add_headlines(image: Image.Image) -> Image.Image:
    """Add two centred lines of large white text, at the upper and the lower edge."""
    copy = image.copy()
    width, height = copy.size
    draw, size = ImageDraw.Draw(copy), max(min(width, height) // 9, 6)
    font = ImageFont.load_default(size)
    for y, words in ((size, "ONE DOES NOT SIMPLY"), (height - size, "COPY A PHOTOGRAPH")):
        draw.text(
            (width // 2, y), words, "white", font, "mm", stroke_width=size // 12 + 1,
            stroke_fill="black",
        )  # fmt: skip
    return copy


def add_text_block(image: Image.Image) -> Image.Image:
    """Cover a tenth of the area with a white box of four lines, at the lower right."""
    copy = image.copy()
    width, height = copy.size
    wide, high = round(width * 0.4), round(height * 0.25)
    left, top = width - wide - width // 30, height - high - height // 30
    draw = ImageDraw.Draw(copy)
    draw.rectangle((left, top, left + wide, top + high), "white")
    font = ImageFont.load_default(max(high // 7, 6))
    for n, words in enumerate(("Opening hours", "Mon to Fri 9–17", "Sat 10–14", "Free entry")):
        draw.text((left + wide // 12, top + high * (2 * n + 1) // 8), words, "black", font, "lm")
    return copy


def add_watermark(image: Image.Image) -> Image.Image:
    """Add half transparent white text across the middle, at least half as wide."""
    width, height = image.size
    veil = Image.new("L", image.size)
    font = ImageFont.load_default(max(width // 10, 6))
    ImageDraw.Draw(veil).text((width // 2, height // 2), "© Agency", 128, font, anchor="mm")
    return _veiled(image, veil)


def add_tiled_watermark(image: Image.Image) -> Image.Image:
    """Repeat slanted white text of 30 % opacity over the whole image."""
    width, height = image.size
    side = max(max(image.size) // 5, 8)
    font = ImageFont.load_default(max(side // 5, 6))
    veil = Image.new("L", (2 * width, 2 * height))
    draw = ImageDraw.Draw(veil)
    for row, y in enumerate(range(0, 2 * height, side)):
        for x in range(-(row % 2) * side // 2, 2 * width, side):
            draw.text((x, y), "Agency", 76, font)
    turned = veil.rotate(30, Image.Resampling.BILINEAR)
    left, top = width // 2, height // 2
    return _veiled(image, turned.crop((left, top, left + width, top + height)))


def add_logo(image: Image.Image, share: float) -> Image.Image:
    """Cover this share of the area with an opaque disc in the lower right corner."""
    copy = image.copy()
    width, height = copy.size
    across = max(round((width * height * share * 4 / 3.1416) ** 0.5), 2)
    right, bottom = width - width // 40 - 1, height - height // 40 - 1
    draw = ImageDraw.Draw(copy)
    draw.ellipse((right - across, bottom - across, right, bottom), "#d62828", "white")
    font = ImageFont.load_default(max(across // 2, 6))
    draw.text((right - across // 2, bottom - across // 2), "N", "white", font, anchor="mm")
    return copy


def _veiled(image: Image.Image, veil: Image.Image) -> Image.Image:
    return Image.composite(Image.new("RGB", image.size, "white"), image, veil)
