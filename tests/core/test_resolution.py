"""One limit on pixels, the same wherever a model is shown a picture."""

from collections.abc import Sequence
from io import BytesIO

import pytest
from PIL import Image

from emocaliber.core.images import SHOWN_PIXELS, downscale, load_image
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import Request, Response
from emocaliber.generation.respond import respond


@pytest.mark.parametrize("size", [(672, 672), (5, 5), (1, 400)])
def test_a_picture_within_the_limit_is_left_as_it_is(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size)
    assert downscale(image) is image


@pytest.mark.parametrize("size", [(673, 672), (4000, 3000), (3000, 4000), (9000, 60)])
def test_a_larger_one_keeps_its_shape_and_nearly_fills_the_limit(size: tuple[int, int]) -> None:
    width, height = downscale(Image.new("RGB", size)).size
    assert 0.95 * SHOWN_PIXELS < width * height <= SHOWN_PIXELS
    assert width / height == pytest.approx(size[0] / size[1], rel=0.02)


class Looks:
    """An engine that says the size of what it is shown."""

    name, concurrency, requests_per_call = "looks", 1, 32

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        return [Response(request.sample_id, str(request.image.size), "stop") for request in requests]


def test_training_and_generation_show_the_same_pixels() -> None:
    buffer = BytesIO()
    Image.effect_noise((1200, 900), 60).save(buffer, "JPEG")
    sample = Sample("1", buffer.getvalue(), "t", ("a",), "a", "test", "g", "1")
    trained_on = load_image(sample.image)
    assert trained_on.size == (775, 581)
    assert next(respond([sample], Looks(), load_template("label"))).text == str(trained_on.size)
