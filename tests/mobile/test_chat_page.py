"""The chat page in a headless browser, at the size of a desktop and of a phone."""

import base64
import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_stand_in import ANSWER, StandIn, behind, served
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from imp_data.mobile.chat.app import ModelInfo, chat_app
from imp_data.mobile.gguf.bundle import ExampleQuestion, QuestionStyle

SUFFIX = "\nAnswer in a word."
ASKING = QuestionStyle(
    short_answer_suffix=SUFFIX,
    short_by_default=True,
    examples=[
        ExampleQuestion(text="What color is the sign?", short=True),
        ExampleQuestion(text="What is going on?", short=False),
    ],
)
BROWSER, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
DESK, PHONE = (1200, 800), (390, 844)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER.exists() and DRIVER.exists()), reason=f"{BROWSER} or {DRIVER} is not there"
    ),
]


class Page:
    """The chat page as a user operates it."""

    def __init__(self, driver: webdriver.Chrome, address: str, llama: StandIn) -> None:
        self.driver, self.llama = driver, llama
        self.open(address)

    def open(self, address: str) -> None:
        self.driver.get(address)
        wait_for(lambda: self.driver.find_elements(By.CSS_SELECTOR, "[data-ready]"))

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return [e.text for e in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def ask(self, text: str) -> None:
        self.find("#question").send_keys(text + Keys.ENTER)

    def heard(self) -> str:
        """Return the last answer when it is complete."""
        wait_for(lambda: self.find("#send").is_displayed() and self.texts(".assistant .text"))
        return self.texts(".assistant .text")[-1]

    def sent(self) -> list[str]:
        """Return the texts of the last request, without the newline after an image."""
        contents = [m["content"] for m in self.llama.asked[-1]["messages"]]
        return [c if isinstance(c, str) else c[-1]["text"].removeprefix("\n") for c in contents]

    def choose(self, short: bool) -> None:
        if self.find("#short").is_selected() != short:
            self.find("#short-answers").click()

    def attach(self, image: Path) -> None:
        self.find("#file").send_keys(str(image))
        wait_for(lambda: self.find("#attached").is_displayed())

    def sent_image(self) -> Image.Image:
        part = self.llama.asked[-1]["messages"][-1]["content"][0]
        data = part["image_url"]["url"].partition(",")[2]
        return Image.open(io.BytesIO(base64.b64decode(data)))

    def script(self, text: str, *values: Any) -> Any:
        return self.driver.execute_script(text, *values)


def wait_for(what: Callable[[], Any], seconds: float = 15) -> Any:
    end = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return answer


def squared(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize((56, 56), Image.Resampling.BICUBIC)


@pytest.fixture
def llama() -> StandIn:
    return StandIn()


@pytest.fixture
def address(llama: StandIn) -> Iterator[str]:
    about = ModelInfo("imp-tiny", 56, "square", "Apache-2.0", "9418671a", ASKING)
    with behind(llama.app) as upstream, served(chat_app(upstream, about, squared)) as base:
        yield base


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(
    request: pytest.FixtureRequest, tmp_path: Path, address: str, llama: StandIn
) -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    width, height = request.param
    switches = (
        *("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-quic"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        f"user-data-dir={tmp_path / 'browser'}",
        f"window-size={width},{height}",
    )
    for switch in switches:
        options.add_argument(f"--{switch}")
    if request.param == PHONE:
        metrics = {"width": width, "height": height, "pixelRatio": 2, "touch": True}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    # Only a page in a window of its own is certain to have the keyboard focus.
    driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    try:
        yield Page(driver, address, llama)
        errors = [e["message"] for e in driver.get_log("browser") if "favicon" not in e["message"]]
        assert errors == []
    finally:
        driver.quit()
        shutil.rmtree(tmp_path / "browser", ignore_errors=True)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Write an image twice as wide as high: red on the left, blue on the right."""
    image = Image.new("RGB", (400, 200), "red")
    image.paste("blue", (200, 0, 400, 200))
    image.save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


def test_an_image_and_a_question_get_an_answer_with_its_speed(page: Page, wide: Path) -> None:
    page.attach(wide)
    page.ask("What is it?")
    assert page.heard() == ANSWER
    assert "12.8 tokens/s · first after " in page.find(".assistant .speed").text
    seen = page.sent_image()
    assert seen.size == (56, 56)
    assert (seen.getpixel((10, 28)), seen.getpixel((45, 28))) == ((255, 0, 0), (0, 0, 255))
    shown = page.find(".user .question-image").rect
    assert shown["width"] / shown["height"] == pytest.approx(2, rel=0.05)


def test_a_conversation_is_restored_after_the_page_was_closed(page: Page, address: str) -> None:
    page.choose(short=False)
    page.ask("First question")
    page.heard()
    page.open(address)
    assert page.texts("article") == []
    page.script("document.querySelector('#conversations .open').click()")
    wait_for(lambda: page.texts(".text") == ["First question", ANSWER])
    page.ask("Second question")
    wait_for(lambda: len(page.texts(".assistant .text")) == 2 and page.heard() == ANSWER)
    said = [m["content"] for m in page.llama.asked[-1]["messages"]]
    assert said == ["First question", ANSWER, "Second question"]


def test_the_short_answer_suffix_is_appended_once_to_the_first_question(
    page: Page,
) -> None:
    assert page.find("#short").is_selected(), "most of the mixture is asked so"
    page.ask("What color?")
    page.heard()
    assert page.sent() == ["What color?" + SUFFIX]
    assert page.texts(".user .text") == ["What color?"]
    assert page.texts(".user .speed") == ["short answer"]
    page.ask("How many?")
    wait_for(lambda: len(page.texts(".assistant .text")) == 2 and page.heard() == ANSWER)
    assert page.sent() == ["What color?" + SUFFIX, ANSWER, "How many?"]


def test_the_short_answer_switch_applies_to_a_conversation_and_to_retries(page: Page) -> None:
    page.choose(short=False)
    page.ask("What color?")
    page.heard()
    assert page.sent() == ["What color?"]
    page.choose(short=True)
    page.find(".assistant .retry").click()
    wait_for(lambda: page.sent() == ["What color?" + SUFFIX])
    page.heard()
    page.choose(short=False)
    page.script("document.getElementById('new').click()")
    assert page.find("#short").is_selected(), "a new one begins as the mixture asks"


def test_the_examples_are_those_of_the_mixture_and_set_the_switch(page: Page) -> None:
    assert page.texts(".examples button") == ["What color is the sign?", "What is going on?"]
    buttons = page.driver.find_elements(By.CSS_SELECTOR, ".examples button")
    buttons[1].click()
    assert not page.find("#short").is_selected()
    buttons[0].click()
    assert page.find("#short").is_selected()
    assert page.find("#question").get_attribute("value") == "What color is the sign?"
    page.find("#send").click()
    page.heard()
    assert page.sent() == ["What color is the sign?" + SUFFIX]


def test_an_answer_of_one_token_has_no_speed(page: Page) -> None:
    page.llama.words = 1
    page.ask("What color?")
    assert page.heard() == ANSWER.split()[0]
    assert page.find(".assistant .speed").text.startswith("first after ")


def test_a_photo_is_decoded_by_the_server_and_shown_upright(page: Page, tmp_path: Path) -> None:
    photo = Image.new("RGB", (400, 200), "red")
    photo.paste("blue", (200, 0, 400, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    page.attach(tmp_path / "photo.jpg")
    page.ask("What is it?")
    page.heard()
    seen = page.sent_image().convert("RGB")
    upper, lower = seen.getpixel((28, 10)), seen.getpixel((28, 45))
    assert upper[0] > 200 > 50 > upper[2] and lower[2] > 200 > 50 > lower[0]  # type: ignore[index]
    shown = page.find(".user .question-image").rect
    assert shown["width"] / shown["height"] == pytest.approx(0.5, rel=0.05)


def test_a_format_that_the_server_does_not_read_is_converted_by_the_browser(
    page: Page,
) -> None:
    page.script(
        """
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = 20;
        const context = canvas.getContext("2d");
        context.fillStyle = "#00f";
        context.fillRect(0, 0, 20, 20);
        canvas.toBlob((blob) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([blob], "drawn.heic", { type: "image/heic" }));
          dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
        });
        """
    )
    wait_for(lambda: page.find("#attached").is_displayed())
    page.ask("What is it?")
    page.heard()
    assert page.sent_image().convert("RGB").getpixel((28, 28)) == (0, 0, 255)


def test_stop_ends_the_answer_and_keeps_its_text(page: Page) -> None:
    page.llama.pause_s = 0.4
    page.ask("Tell me")
    wait_for(lambda: "red" in page.find(".assistant .text").text)
    page.find("#stop").click()
    assert page.heard() != ANSWER
    assert page.find(".assistant .speed").text == "stopped"


def test_an_image_is_dropped_or_pasted(page: Page) -> None:
    for event in ("drop", "paste"):
        page.script(
            """
            const canvas = document.createElement("canvas");
            canvas.width = 20; canvas.height = 10;
            const name = arguments[0];
            canvas.toBlob((blob) => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([blob], "drawn.png", { type: "image/png" }));
              const common = { bubbles: true, cancelable: true };
              dispatchEvent(name === "drop"
                ? new DragEvent("drop", { dataTransfer: transfer, ...common })
                : new ClipboardEvent("paste", { clipboardData: transfer, ...common }));
            });
            """,
            event,
        )
        wait_for(lambda: page.find("#attached").is_displayed())
        assert page.find("#preview").size["width"] == page.find("#preview").size["height"]
        page.find("#remove-image").click()
        assert not page.find("#attached").is_displayed()


def test_a_file_that_is_not_an_image_shows_an_error(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    page.find("#file").send_keys(str(tmp_path / "broken.png"))
    wait_for(lambda: page.texts("[role=alert]"))
    assert page.texts("[role=alert]")[0].startswith("broken.png is damaged")


def test_the_choice_of_light_or_dark_is_kept(page: Page, address: str) -> None:
    def paper() -> str:
        return str(page.script("return getComputedStyle(document.body).backgroundColor"))

    light = paper()
    page.find("#theme").click()
    dark = paper()
    page.open(address)
    assert dark == paper() != light


def test_the_page_is_usable_by_keyboard_and_screen_reader(page: Page) -> None:
    page.script("document.querySelector('a, button').focus()")  # the first that Tab reaches
    skip = page.driver.switch_to.active_element
    assert skip.text == "Skip to the question"
    skip.send_keys(Keys.ENTER)
    assert page.driver.switch_to.active_element.get_attribute("id") == "question"
    page.ask("Hello")
    page.heard()
    wait_for(lambda: page.find("#announcement").get_attribute("textContent") == ANSWER)
    unnamed = page.script(
        """
        return [...document.querySelectorAll("button, textarea, img, nav, [role=log]")]
          .filter((e) => e.checkVisibility())
          .filter((e) => e.getAttribute("alt") !== "")
          .filter((e) => !(e.ariaLabel ?? e.getAttribute("alt") ?? e.textContent).trim())
          .map((e) => e.outerHTML);
        """
    )
    assert unnamed == []


def test_the_page_fits_the_screen_and_buttons_are_large_enough_for_touch(page: Page) -> None:
    page.ask("wide " * 30 + "W" * 300)
    page.heard()
    assert page.script("return document.documentElement.scrollWidth <= innerWidth")
    small = page.script(
        """
        return [...document.querySelectorAll("#composer button, header button")]
          .filter((e) => e.checkVisibility())
          .map((e) => e.getBoundingClientRect())
          .filter((r) => r.width < 40 || r.height < 40).length;
        """
    )
    assert small == 0


def test_an_unreachable_model_shows_an_error(page: Page) -> None:
    page.script("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    page.ask("Hello")
    assert page.heard().startswith("The model is not reachable.")
    assert "failed" in page.find(".assistant").get_attribute("class")
