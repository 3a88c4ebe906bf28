import pytest

from distributed.search.backbones import named, read_backbones
from folds.errors import UserError


def test_names_weights_folders_and_hub_models_are_read():
    text = "test_resnet, test_vit=none,local-dir:a/b=c,hf-hub:org/model,test_vit=own.pth"
    entries = read_backbones(text)
    assert entries == [
        "test_resnet", "test_vit=none", "local-dir:a/b=c", "hf-hub:org/model", "test_vit=own.pth",
    ]  # fmt: skip
    assert [named(entry) for entry in entries] == [
        ("test_resnet", None), ("test_vit", "none"), ("local-dir:a/b=c", None),
        ("hf-hub:org/model", None), ("test_vit", "own.pth"),
    ]  # fmt: skip


def test_a_file_has_one_a_line_with_comments(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("# small ones\ntest_resnet\n\ntest_vit=a,b.pth  # of a,b\n")
    assert read_backbones(str(file)) == ["test_resnet", "test_vit=a,b.pth"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet81", r"^--backbone resnet81: timm has no such model; nearest: resnet\d"),
        ("test_vit,resnet18.nonesuch", r"resnet18\.nonesuch: timm has no such weights"),
        ("test_vit,test_resnet,test_vit", "test_vit stands there twice; name each once"),
        (" , ", "names none"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, words):
    with pytest.raises(UserError, match=words) as caught:
        read_backbones(text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "x.pth"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no text; give one backbone a line"):
        read_backbones(str(file))
