"""The microscope: tiles where they belong, for those who may see them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tests.api.film_house import FilmHouse, house, pydicom_file, quick_hashes, slide_study

__all__ = ["house", "quick_hashes"]


def test_levels_and_scale_are_described_from_the_smallest(house: FilmHouse) -> None:
    slide = slide_study()
    uid = house.receive(slide)
    house.sign_in(house.county.doctor)
    info = house.client.get(f"/slides/{uid}/{slide[0].SeriesInstanceUID}/info.json").json()
    assert [(level["width"], level["height"], level["columns"], level["rows"]) for level in info["levels"]] == [
        (350, 250, 2, 1),
        (700, 500, 3, 2),
    ]
    assert round(info["micrometres_per_pixel"], 4) == 0.5


def test_each_tile_is_the_frame_of_its_place(house: FilmHouse) -> None:
    slide = slide_study()
    uid = house.receive(slide)
    house.sign_in(house.county.doctor)
    for row in range(2):
        for column in range(3):
            tile = house.client.get(f"/slides/{uid}/{slide[0].SeriesInstanceUID}/tiles/1/{column}_{row}.jpg")
            assert tile.headers["cache-control"].startswith("private")
            grey = np.asarray(Image.open(io.BytesIO(tile.content)).convert("L")).mean()
            assert abs(grey - (40 + 8 * (row * 3 + column))) < 2
    for nowhere in ("1/3_0", "1/0_2", "2/0_0"):
        assert house.client.get(f"/slides/{uid}/{slide[0].SeriesInstanceUID}/tiles/{nowhere}.jpg").status_code == 404


def test_the_page_needs_no_inline_script(house: FilmHouse) -> None:
    slide = slide_study()
    uid = house.receive(slide)
    house.sign_in(house.county.doctor)
    page = house.client.get(f"/slides/{uid}/{slide[0].SeriesInstanceUID}", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "<script>" not in page.text
    for part in ("/static/slides.js", "/static/slides.css", "/static/vendor/openseadragon/openseadragon.min.js"):
        assert part in page.text
        assert house.client.get(part).status_code == 200
    thumbnail = house.client.get(f"/slides/{uid}/{slide[0].SeriesInstanceUID}/thumbnail.jpg")
    assert thumbnail.content[:2] == b"\xff\xd8"


def test_foreign_slides_and_slides_of_other_films_do_not_exist(house: FilmHouse) -> None:
    slide, other = slide_study(), slide_study()
    uid, other_uid = house.receive(slide, house.county.other_township), house.receive(other)
    address = f"/slides/{uid}/{slide[0].SeriesInstanceUID}"
    assert house.client.get(f"{address}/info.json").status_code == 401
    house.sign_in(house.county.operator)
    for part in ("/info.json", "/tiles/1/0_0.jpg", "/thumbnail.jpg", ""):
        assert house.client.get(address + part).status_code == 404
    house.forget()
    assert house.open_film(house.grant(other_uid)) == 303
    assert house.client.get(f"{address}/tiles/1/0_0.jpg").status_code == 404
    assert house.client.get(f"/slides/{other_uid}/{other[0].SeriesInstanceUID}/tiles/1/0_0.jpg").status_code == 200
    assert house.client.get(f"/slides/{other_uid}/{slide[0].SeriesInstanceUID}/tiles/1/0_0.jpg").status_code == 404


def test_what_is_no_pyramid_is_said_to_be_none(house: FilmHouse) -> None:
    slide = slide_study()
    for level in slide:
        level.DimensionOrganizationType = "TILED_SPARSE"
    uid = house.receive(slide)
    (ultrasound,) = pydicom_file("examples_ybr_color.dcm")
    ultrasound_uid = house.receive([ultrasound])
    house.sign_in(house.county.doctor)
    refused = house.client.get(f"/slides/{uid}/{slide[0].SeriesInstanceUID}/info.json")
    assert refused.status_code == 415
    assert refused.json()["remedy"]
    assert house.client.get(f"/slides/{ultrasound_uid}/{ultrasound.SeriesInstanceUID}/info.json").status_code == 404
