# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np

from trainer.weights.part_names import HEAD_WIDTH, PLACES, name_parts, nose_tip


def head(scale=1.0, shift=(0.0, 0.0, 0.0)):
    """A cloud of points at the places of a head, both sides, with the place of each point."""
    points, place = [(0.0, 0.0, 0.0)], [-1]
    rng = np.random.default_rng(0)
    for number, ((x, y, z), reach) in enumerate(PLACES.values()):
        cloud = np.array([x, y, z]) + rng.uniform(-0.4, 0.4, (40, 3)) * reach
        cloud[:, 0] = np.clip(np.abs(cloud[:, 0]), 0, HEAD_WIDTH / 2)
        cloud[:, 1] = np.maximum(cloud[:, 1], 2.0)
        points += [*cloud, *(cloud * [-1, 1, 1])]
        place += [number] * 80
    points += [(HEAD_WIDTH / 2, 120.0, 20.0), (-HEAD_WIDTH / 2, 120.0, 20.0)]
    place += [-1, -1]
    return np.array(points) * scale + shift, np.array(place)


def one_hot(label, count):
    return np.stack([(label == k).astype(float) for k in range(count)])


def test_every_place_is_recognised():
    for scale, shift in ((1.0, (0, 0, 0)), (0.8, (0, 30, 1600)), (1.2, (3, -100, -50))):
        mean, place = head(scale, shift)
        mean[:, 0] -= shift[0]
        assert name_parts(one_hot(place, len(PLACES)), mean) == list(PLACES)


def test_nose_tip():
    mean, _ = head(shift=(0, 5, 7))
    assert np.allclose(nose_tip(mean), (0, 5, 7))


def test_one_sided_parts_are_left_and_right_of_the_person():
    mean, place = head()
    ears = list(PLACES).index("ears")
    left, right = (place == ears) & (mean[:, 0] > 0), (place == ears) & (mean[:, 0] < 0)
    assert name_parts(np.stack([right, left]), mean) == ["right ear", "left ear"]


def test_two_parts_of_one_name_are_told_apart():
    mean, place = head()
    neck = place == list(PLACES).index("neck")
    middle = np.median(mean[neck, 2])
    parts = np.stack([neck & (mean[:, 2] < middle), neck & (mean[:, 2] >= middle)])
    mean[neck & (mean[:, 2] < middle), 2] -= 12
    assert name_parts(parts, mean) == ["lower neck", "upper neck"]


def test_unknown_places_get_numbers_and_names_are_unique():
    mean, place = head()
    mean = np.concatenate([mean, np.tile([0.0, 900.0, 20.0], (5, 1))])
    far = np.zeros(len(mean))
    far[-5:] = 1
    nose = np.r_[place == list(PLACES).index("nose"), np.zeros(5)]
    names = name_parts(np.stack([nose, far, nose, nose]), mean)
    assert names[1] == "part 2" and len(set(names)) == 4 and sum("nose" in n for n in names) == 3


def test_a_mask_is_not_taken_for_a_narrow_head():
    mean, place = head()
    front = mean[:, 1] < 70
    names = [name for name, (centre, _) in PLACES.items() if centre[1] < 60]
    parts = np.stack([(place == list(PLACES).index(name))[front].astype(float) for name in names])
    assert name_parts(parts, mean[front]) == names


def test_areas_outweigh_dense_vertices():
    mean, place = head()
    forehead, eyes = (place == list(PLACES).index(name) for name in ("forehead", "eyes"))
    areas = np.where(forehead, 5.0, 0.2)
    part = (forehead | eyes)[None].astype(float)
    mean, part, areas = (np.repeat(a, np.where(eyes, 20, 1), axis=-1 if a is part else 0) for a in (mean, part, areas))
    assert name_parts(part, mean) == ["eyes"] and name_parts(part, mean, areas=areas) == ["forehead"]


def test_labelled_regions_come_first():
    mean, place = head()
    region = np.where(place == list(PLACES).index("nose"), 0, -1)
    parts = one_hot(place, len(PLACES))
    names = name_parts(parts, mean, ["snout"], region)
    assert names[list(PLACES).index("nose")] == "snout"
    assert [n for n in names if n != "snout"] == [n for n in PLACES if n != "nose"]


def test_a_data_set_without_regions_is_named_by_place():
    mean, place = head()
    parts = one_hot(place, len(PLACES))
    assert name_parts(parts, mean, [], np.zeros(0, np.int32)) == list(PLACES)


def test_second_claimant_of_a_region_is_named_by_its_place():
    mean, place = head()
    neck, skull = (place == list(PLACES).index(name) for name in ("neck", "skull"))
    region = np.where(neck | skull, 0, -1)
    region[np.flatnonzero(skull)[:20]] = -1  # the neck overlaps the region most
    assert name_parts(np.stack([skull, neck]), mean, ["neck"], region) == ["skull", "neck"]
