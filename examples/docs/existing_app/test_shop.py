"""The tests call the app as any program does."""

from shop import Thumbnails, make_all


def test_all_pictures():
    assert make_all.remote(["cat.png", "dog.png"]) == ["cat.thumb.png", "dog.thumb.png"]


def test_one_picture():
    assert Thumbnails().make.remote("cat.png") == "cat.thumb.png"
