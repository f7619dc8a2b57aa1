from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from tests.plugins.yolo.darknet.samples import TINY, TINY_VALUES, write_cfg
from zoo_core.build import build
from zoo_core.errors import DataError, ZooError
from zoo_core.recipes import resolve
from zoo_yolo.darknet.importer import detector_spec
from zoo_yolo.darknet.network import read_network


def test_a_small_network(tmp_path: Path) -> None:
    network = read_network(write_cfg(tmp_path))
    assert (network.height, network.width, network.letterbox) == (64, 32, False)
    assert [layer.type for layer in network.body.layers] == [
        *("convolutional", "convolutional", "shortcut", "route", "maxpool", "dropout", "convolutional"),
        *("route", "upsample", "route"),
    ]
    assert network.body.outputs == (6, 9)
    assert network.body.layers[9].sources(9) == (8, 2)
    assert network.body.strides == (4, 2)
    assert [yolo.anchors for yolo in network.yolos] == [((10, 14), (23, 27)), ((4, 6),)]
    assert [yolo.scale_xy for yolo in network.yolos] == [1.0, 1.1]
    assert network.values == TINY_VALUES


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "strides", "values"),
    [
        # Parameters (design/facts.md) and the two statistics of each of the norms' channels.
        ("yolov4", (8, 16, 32), 64_363_101 + 2 * 33_152),
        ("yolov4-tiny", (32, 16), 6_056_606 + 2 * 3_104),
        ("yolov4-tiny-3l", (32, 16, 8), None),
        ("yolov4-csp", (8, 16, 32), None),
        ("yolov4-custom", (8, 16, 32), 64_363_101 + 2 * 33_152),
        ("yolo-fastest-1.1", (32, 16), 346_062),
    ],
)
def test_official_networks(shared: Path, name: str, strides: tuple[int, ...], values: int | None) -> None:
    network = read_network(shared / f"data/weights/darknet/{name}.cfg")
    assert network.body.strides == strides
    assert values in (None, network.values)
    assert network.letterbox == (name == "yolov4-csp")
    assert all(yolo.square == (name == "yolov4-csp") for yolo in network.yolos)
    assert detector_spec(network).num_classes == 80


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        # [net]
        ("width=32\n", "", r"line 1: \[net\]: 'width' is missing"),
        ("width=32", "width=34", r"line 2: \[net\]: width must be a multiple of 4, the stride of the coarsest map, got 34"),
        ("height=64", "height=99999999", "line 3: .*height must lie in 1 … 32,768"),
        ("channels=3", "channels=1", "line 4: .*images have 3 channels here, not 1"),
        ("[dropout]", "[net]", r"line 36: \[net\]: there is one \[net\], at the beginning"),
        # Options
        ("filters=8", "filter=8", r"line 8: .*no option 'filter' is known; did you mean 'filters'\?"),
        (
            "pad=1\n",
            "pad=1\nquantum=1\n",
            "line 12: .*no option 'quantum' is known; if it is about training alone, take line 12 out",
        ),
        ("activation=mish", "activation=mich", r"line 12: .*activation=mich is not supported; did you mean 'mish'\?"),
        ("activation=mish", "activation=selu", r"activation=selu is not supported; did you mean 'relu'\?"),
        ("activation=mish", "activation=hardtan", "activation=hardtan is not supported; there are linear, leaky, mish"),
        ("activation=mish", "", "line 6: .*'activation' is missing"),
        ("pad=1\n", "pad=1\nassisted_excitation=4000\n", "line 12: .*assisted_excitation=4000 is not supported"),
        ("pad=1\n", "pad=1\nantialiasing=1\n", "antialiasing=1 is not supported"),
        ("pad=1\n", "pad=1\ndilation=2\n", "dilation=2 is not supported"),
        ("from=-2", "from=-2\nweights_type=per_feature", "weights_type: 'per_feature' is not a number"),
        # Layers that do not fit
        ("from=-2", "from=-3", r"line 24: \[shortcut\]: from=-3 is no layer before this one, which is layer 2"),
        ("from=-2", "from=2", "from=2 is no layer before this one"),
        ("groups=4", "groups=3", r"line 14: \[convolutional\]: 8 channels to 8 filters cannot be done in 3 groups"),
        ("layers=-1, 2", "layers=-1, 5", r"line 64: \[route\]: the maps have different strides: 2, 4"),
        ("layers=-3", "layers=-2", r"line 59: .*layers=-2 leads to the \[convolutional\] of line 45, whose map belongs to the"),
        ("layers=-3", "layers=-1", r"layers=-1 leads to the \[yolo\] of line 52"),
        (
            "[upsample]\nstride=2",
            "[upsample]\nstride=8",
            r"line 61: \[upsample\]: a map of stride 4 cannot be made 8 times larger",
        ),
        ("[route]\nlayers=-3", "[dropout]", r"line 58: \[dropout\]: it reads what the \[yolo\] before it gives"),
        # [yolo]
        ("mask=1,2", "mask=1,3", r"line 53: \[yolo\]: mask must choose different ones of the anchors 0 … 2, got 1,3"),
        ("mask=1,2", "mask=1,1", "mask must choose different ones"),
        (
            "mask=1,2",
            "mask=0,1,2",
            r"line 46: .*filters must be 3 anchors \* \(5 \+ 2 classes\) = 21 before the \[yolo\] of line 52",
        ),
        ("num=3", "num=4", "line 54: .*num=4 needs 8 numbers in anchors, got 6"),
        ("4,6, 10", "0,6, 10", "line 54: .*anchors are widths and heights above 0, 32,768 at most, got 0"),
        ("classes=2", "classes=3", r"filters must be 2 anchors \* \(5 \+ 3 classes\) = 16"),
        ("classes=2", "classes=0", "line 55: .*classes must lie in 1 … 100,000"),
        ("filters=14\nsize=1", "filters=14\nsize=3", r"line 45: .*before a \[yolo\] it must have size=1, stride=1"),
        ("filters=14", "filters=14\nbatch_normalize=1", "and no batch_normalize"),
        (
            "filters=14\nsize=1\nstride=1\npad=1\nactivation=linear",
            "filters=14\nsize=1\nactivation=leaky",
            "without new_coords the",
        ),
        ("num=3", "num=3\nnew_coords=1", r"line 50: .*with new_coords the activation must be logistic, not linear"),
        ("scale_x_y=1.1", "scale_x_x=1.1", r"line 78: .*no option 'scale_x_x' is known; did you mean 'scale_x_y'\?"),
        ("stride=2\n\n[route]\nlayers=-1, 2", "stride=1\n\n[route]\nlayers=-1", "its map has stride 4, as that of line 52"),
    ],
)
def test_networks_that_do_not_fit(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in TINY
    with pytest.raises(DataError, match=told):
        read_network(write_cfg(tmp_path, TINY.replace(old, new, 1)))


def test_classes_differ(tmp_path: Path) -> None:
    text = TINY[: TINY.rindex("filters=7")] + TINY[TINY.rindex("filters=7") :].replace("=7", "=8").replace(
        "classes=2", "classes=3"
    )
    with pytest.raises(DataError, match=r"line 76: .*classes=3, but 2 in that of line 52"):
        read_network(write_cfg(tmp_path, text))


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("[dropout]", r"line 1: \[net\]: the network has no \[yolo\] layer: it is no detector, or the file is truncated"),
        ("[upsample]", r"line 58: \[route\]: the last layer must be a \[yolo\].* is the file truncated"),
        ("num=3\nscale", r"line 73: \[yolo\]: 'num' is missing; is the file truncated\?"),
    ],
)
def test_truncated_networks(tmp_path: Path, end: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_network(write_cfg(tmp_path, TINY[: TINY.index(end)]))


def test_options_of_training_and_those_that_are_off_are_taken(tmp_path: Path) -> None:
    text = TINY.replace("pad=1\n", "pad=1\nstopbackward=1\nantialiasing=0\ndilation=1\n", 1)
    text = text.replace("num=3", "num=3\njitter=.3\nnms_kind=greedynms\nmax_delta=5", 1).replace(
        "from=-2", "from=-2\nweights_type=none"
    )
    text = text.replace("[upsample]", "[upsample]\nscale=1.")
    assert read_network(write_cfg(tmp_path, text)).values == TINY_VALUES


def test_the_options_of_the_losses(tmp_path: Path) -> None:
    told = "ignore_thresh=.7\niou_thresh=.2\niou_normalizer=.07\nobj_normalizer=4\ncls_normalizer=2\nlabel_smooth_eps=.1"
    head = detector_spec(read_network(write_cfg(tmp_path, TINY.replace("num=3", f"num=3\n{told}", 1)))).head.model_dump()
    assert head["balance"] == (1.0, 4.0)  # by stride; the file has the coarser map first
    assert head["anchors"] == (((4, 6),), ((10, 14), (23, 27)))
    assert head["scale_xy"] == (1.1, 1.0)
    assert (head["background_iou"], head["assigner"]["least_iou"]) == (0.7, 0.2)
    assert (head["box_weight"], head["class_weight"], head["label_smoothing"]) == (0.07, 2.0, 0.1)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "recipe"), [("yolov4", "yolov4"), ("yolov4-tiny", "yolov4_tiny")])
def test_the_recipes_have_the_options_of_their_files(shared: Path, name: str, recipe: str) -> None:
    imported, own = detector_spec(read_network(shared / f"data/weights/darknet/{name}.cfg")), resolve(recipe, {})
    assert imported.preprocess == own.preprocess
    a, b = imported.head.model_dump(), own.head.model_dump()
    b["scale_xy"] = b["scale_xy"] if isinstance(b["scale_xy"], tuple) else (b["scale_xy"],) * len(b["anchors"])
    assert a == b


WORDS = ("0", "-1", "1", "2", "7", "65536", "99999999999999999999", "nan", "", ",", "1,2,3", "=", "[", "[route]", "\0", "é")


def mutated(text: str, chance: random.Random) -> str:
    """Return the text with a few lines or characters changed, lost, moved or repeated."""
    for _ in range(chance.randint(1, 4)):
        lines = text.splitlines()
        spot = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                lines[spot] = lines[spot].partition("=")[0] + "=" + chance.choice(WORDS)
            case 1:
                del lines[spot]
            case 2:
                lines.insert(chance.randrange(len(lines)), lines[spot])
            case 3:
                lines[spot] = chance.choice(lines)
            case 4:
                middle = chance.randrange(len(lines[spot]) + 1)
                lines[spot] = lines[spot][:middle] + chance.choice(WORDS) + lines[spot][middle + 1 :]
            case _:
                lines = lines[: max(spot, 1)] if chance.random() < 0.2 else lines
        text = "\n".join(lines)
    return text


def test_whatever_is_in_the_file_it_is_a_network_or_an_error_of_ours(tmp_path: Path) -> None:
    chance = random.Random(0)
    good = 0
    for _ in range(400):
        path = write_cfg(tmp_path, mutated(TINY, chance))
        try:
            network = read_network(path)
            model = build(detector_spec(network))
            good += 1
        except ZooError:
            continue
        if network.values < 100_000 and network.height * network.width < 100_000:
            model.predict(torch.zeros(3, 20, 20, dtype=torch.uint8))
    assert 20 < good < 300


def test_numbers_that_would_take_all_memory_are_found_in_their_line(tmp_path: Path) -> None:
    wide = "[conv]\nfilters=65536\nsize=1\nactivation=linear\n"
    text = TINY.replace("[convolutional]", f"{wide * 2}[convolutional]", 1)
    with pytest.raises(DataError, match=r"line 10: \[convolutional\]: 4,295,\d+,\d+ weights up to here; 1,000,000,000 at most"):
        read_network(write_cfg(tmp_path, text))


def test_a_network_of_very_many_layers(tmp_path: Path) -> None:
    text = TINY.replace("[dropout]\nprobability=.25\n", "[dropout]\n" * 9_900)
    assert len(read_network(write_cfg(tmp_path, text)).body.layers) == 9_909
