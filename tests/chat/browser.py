"""Headless Chromium on the page, as a person uses it: pictures, buttons, keys; and what it asked the network for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

PATIENCE = 180
SCREENSHOTS = Path(__file__).parents[2] / "out" / "chat-screenshots"
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1280,1000",
)


class Browser:
    """One user at the page."""

    def __init__(self, url: str) -> None:
        chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
        if chromium is None or chromedriver is None:
            pytest.skip("Chromium is not installed: apt-get install chromium chromium-driver")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.url, self.driver = url, webdriver.Chrome(options=options, service=Service(chromedriver))
        self.open()

    def open(self) -> None:
        """Load the page afresh: a new session."""
        self.driver.get(self.url)
        self.wait(lambda: self.all("body[data-ready] #answers .empty"))
        self.wait(lambda: "Loading" not in self.text("#model"))

    def close(self) -> None:
        self.driver.quit()

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return " ".join(element.text for element in self.all(selector))

    def wait(self, condition: Callable[[], object]) -> None:
        """Until the condition holds; what the page replaces meanwhile is looked for again."""

        def holds(_: object) -> bool:
            return bool(condition())

        WebDriverWait(self.driver, PATIENCE, 0.1, [StaleElementReferenceException]).until(holds)

    def give(self, *pictures: Path) -> None:
        """Choose pictures and wait until they are in the tray."""
        before = len(self.all("#tray li"))
        self.find("#picture-files").send_keys("\n".join(map(str, pictures)))
        self.wait(lambda: len(self.all("#tray li")) == before + len(pictures) or self.all("#status.alert"))

    def ask(self) -> None:
        """Press Ask and wait until the answers are there."""
        before = len(self.all("article.answer"))
        self.find("#ask").click()
        self.wait(lambda: len(self.all("article.answer")) > before and "Asking" not in self.text("#status"))

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a text field."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def choose(self, value: str) -> None:
        """Choose the labels by the name of their list."""
        Select(self.find("#label-set")).select_by_value(value)

    def shoot(self, name: str) -> None:
        """Keep a picture of the page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))

    def requested(self) -> set[str]:
        """Every address that the page has asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}

    def errors(self) -> list[str]:
        """What the browser complained about since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
