"""The names of the classes of data sets, in the order of their labels."""

from ...errors import RangeError

__all__ = ["class_names"]

COARSE = (  # in the spelling of the archive
    "aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture insects "
    "large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals "
    "non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2"
)
FINE = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar "
    "cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl "
    "hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom "
    "oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road "
    "rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank "
    "telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)
NAMES: dict[tuple[str, str], tuple[str, ...]] = {
    ("mnist", "fine"): tuple("0123456789"),
    ("fashion_mnist", "fine"): (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    ("cifar10", "fine"): tuple("airplane automobile bird cat deer dog frog horse ship truck".split()),
    ("cifar100", "fine"): tuple(FINE.split()),
    ("cifar100", "coarse"): tuple(COARSE.split()),
}  # fmt: skip


def class_names(of: str, labels: str = "fine") -> tuple[str, ...]:
    """The names of the classes of "mnist", "fashion_mnist", "cifar10" or "cifar100": `class_names("cifar10")[t]` is that of label t.

    For cifar100 there are 100 "fine" and 20 "coarse" labels. `imagenet_labels()` has the names of ImageNet, an `ImageFolder` its
    own `classes`. Raises RangeError for another name.
    """
    if (of, labels) not in NAMES:
        known = ", ".join(f"{name!r}" + (f" with {kind!r}" if kind != "fine" else "") for name, kind in NAMES)
        raise RangeError(f"class_names: there are {known}; got {of!r} with {labels!r}.")
    return NAMES[of, labels]
