"""ShareGPT4V and LAION-GPT4V: long captions of images from many places."""

from typing import Any, Final

from demo.annotations.captions import Facts, described, short_title
from demo.drawing import album
from demo.sources.llava import Entry, coco, coco_path, imaged

SHAREGPT4V: Final = {
    "coco": 50,
    "llava_pretrain": 24,
    "sam": 20,
    "wikiart": 2,
    "web_celebrity": 2,
    "web_landmark": 2,
    "share_textvqa": 2,
}
LAION: Final = 18
# ShareGPT4V's COCO images begin after those of the LLaVA mix.
_COCO_STARTS = 168
_PROMPTS: Final = (
    "What is this photo about?",
    "What do you see happening in this image?",
    "Can you describe this image in detail?",
    "Describe this image and its style in a very detailed manner.",
    "What are the key elements in this picture?",
)


def sharegpt4v() -> list[Entry]:
    """Return the 102 records without a fault, in an order that mixes the families."""
    entries: dict[str, Entry] = {}
    for family, count in SHAREGPT4V.items():
        for n in range(count):
            path, image = family_image(family, n)
            prompt = album.seeded("sharegpt4v", family, n).choice(_PROMPTS)
            identity = path.rsplit("/", 1)[-1].removesuffix(".jpg")
            record = imaged(identity, path, [(prompt, described(image.facts))])
            entries[album.hexadecimal(16, "sharegpt4v", path)] = Entry(record, image.data)
    return [entries[place] for place in sorted(entries)]


def family_image(family: str, n: int) -> tuple[str, album.DrawnImage[Facts]]:
    """Return the upstream path and the n-th image of a family."""
    name = album.number(0, 10**9, family, n)
    match family:
        case "coco":
            return coco_path(n + _COCO_STARTS), coco(n + _COCO_STARTS)
        case "llava_pretrain":
            folder = f"{name % 700:05d}"
            path = f"llava/llava_pretrain/images/{folder}/{folder}{name % 9999:04d}.jpg"
            return path, web_image(n, "llava_pretrain")
        case "sam":
            return f"sam/images/sa_{name % 11_000_000}.jpg", album.scene("sam", n)
        case "web_celebrity":
            return f"web-celebrity/images/{7 * n + 3}.jpg", album.cover("web-celebrity", n)
        case "web_landmark":
            return f"web-landmark/images/landmark_{n + 1}.jpg", album.scene("web-landmark", n)
        case "wikiart":
            digits = album.hexadecimal(6, "wikiart", n)
            return f"wikiart/images/{digits}.jpg", album.scene("wikiart", n)
        case _:
            digits = album.hexadecimal(16, "not there", n)
            return f"share_textvqa/images/{digits}.jpg", album.scene(family, n)


def web_image(n: int, *name: str) -> album.DrawnImage[Facts]:
    """Return an image of a web page: a scene, or printed matter."""
    match n % 8:
        case 1 | 4:
            return album.cover(*name, n)
        case 2:
            return album.infographic(*name, n)
        case 3:
            return album.statista_chart(*name, n, form="JPEG")
        case 6:
            return album.diagram(*name, n, form="JPEG")
        case 7:
            return album.page(*name, n, form="JPEG")
        case _:
            return album.scene(*name, n)


def laion_rows() -> list[dict[str, Any]]:
    """Return rows of LAION-GPT4V; the column `image` is null, as upstream."""
    return [laion_row(n, laion_caption(n)) for n in range(LAION)]


def laion_caption(n: int) -> str:
    return described(web_image(n, "laion_gpt4v").facts)


def laion_row(n: int, caption: str | None) -> dict[str, Any]:
    title = short_title(web_image(n, "laion_gpt4v").facts).lower().replace(" ", "-")
    return {
        "link": f"https://cdn.example.org/{album.number(10**5, 10**6, 'link', n)}/{title}.jpg",
        "caption": caption,
        "message_id": message_id(n),
        "timestamp": f"2023-11-{1 + n % 28:02d}T{n % 24:02d}:17:{n % 60:02d}.{n:03d}000+00:00",
        "image": None,
    }


def message_id(n: int) -> str:
    return str(album.number(10**18, 2 * 10**18, "message", n))


def laion_files() -> dict[str, bytes]:
    """Return {gpt_v<row>.jpg: bytes} of the rows without a fault."""
    return {f"gpt_v{n}.jpg": web_image(n, "laion_gpt4v").data for n in range(LAION)}


def reencoded(data: bytes, quality: int, scale: float = 1.0) -> bytes:
    """Shrink an image and save it again as a JPEG of another quality."""
    image = album.open_image(data)
    size = (round(image.width * scale), round(image.height * scale))
    return album.encoded(image.resize(size) if scale != 1 else image, quality=quality)
