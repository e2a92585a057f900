"""Boxes and words on photos, whatever the names are."""

import numpy as np
import pytest

from trine.errors import InputError
from trine.report.drawing import RIGHT, WRONG
from trine.report.face_picture import Mark, face_picture, save_picture, side_by_side

Image = pytest.importorskip("PIL.Image")
GREY = np.full((720, 960, 3), 128, dtype=np.uint8)


def colour(text):
    return [int(text[at : at + 2], 16) for at in (1, 3, 5)]


def test_boxes_are_where_the_faces_are_in_the_colour_of_the_verdict():
    marks = [Mark((100, 50, 200, 300), ("ann",), "yes"), Mark((500, 50, 100, 120), ("bob",), "no")]
    drawn = face_picture(GREY, marks)
    assert drawn.shape == GREY.shape
    assert drawn[200, 100].tolist() == colour(RIGHT)
    assert drawn[200, 300].tolist() == colour(RIGHT)
    assert drawn[100, 500].tolist() == colour(WRONG)
    assert drawn[200, 200].tolist() == [128] * 3
    # The words stand below, on the colour of the box.
    assert drawn[353, 101].tolist() == colour(RIGHT)
    assert (drawn[352:372, 100:140] == 255).all(-1).any()
    assert (GREY == 128).all()


def test_small_and_large_photos_are_scaled_with_their_boxes():
    small = face_picture(GREY[:120, :96, :1], [Mark((12, 12, 40, 40), (), "yes")])
    assert small.shape == (960, 768, 3)
    assert small[200, 96].tolist() == colour(RIGHT)
    assert face_picture(np.zeros((100, 4096, 3), dtype=np.uint8), []).shape == (50, 2048, 3)


def test_words_do_not_hide_other_faces_where_there_is_room():
    upper, lower = Mark((100, 300, 150, 150), ("ann",), "yes"), Mark((100, 450, 150, 150), ("bob",), "no")
    drawn = face_picture(GREY, [upper, lower])
    assert (drawn[455:595, 110:240] == 128).all()
    assert (drawn[305:445, 110:240] == 128).all()


@pytest.mark.parametrize(
    "name",
    ["Zażółć Gęślą", "山田 太郎", "عمر", "🙂", "$x_1$", "a\nb\tc", "\x1b[31m", "x" * 500, "\ud800", "", " "],
)
def test_no_name_breaks_it_anywhere(name):
    places = [(-20, -20, 60, 60), (940, 700, 60, 60), (400, 300, 10, 10), (-5, -5, 2000, 2000)]
    drawn = face_picture(GREY, [Mark(place, (name, "no match"), "open") for place in places])
    assert drawn.shape == GREY.shape
    assert (drawn != 128).any()


def test_pictures_are_joined_and_written_without_metadata(tmp_path):
    joined = side_by_side([GREY, GREY[:100, :50]])
    assert joined.shape == (720, 960 + 8 + 50, 3)
    assert joined[500, 1000].tolist() == [255] * 3
    for name in ("a.jpg", "b.PNG", "deep/c.webp"):
        save_picture(joined, tmp_path / name)
        with Image.open(tmp_path / name) as written:
            assert written.size == (1018, 720)
            assert not written.getexif()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        save_picture(joined, tmp_path / "file" / "x.png")
