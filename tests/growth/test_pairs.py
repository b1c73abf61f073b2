from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from common.backbones import build_backbone
from common.image_files import ImageFile
from common.networks import Normalize
from growth.losses import pair_loss
from growth.model import GrowthRegressor
from growth.pair_network import PairNet, pair_days
from growth.pairs import PairDataset, PlantBatches, RandomPairBatches, all_pairs
from growth.photos import Photos


def table(photos_per_plant: list[int]) -> Photos:
    plant = np.repeat([f"S{i % 2}/P{i}" for i in range(len(photos_per_plant))], photos_per_plant)
    day = np.concatenate([np.arange(count) * 2 for count in photos_per_plant])
    files = [ImageFile(Path(f"{i}.png"), "", 1, "") for i in range(len(day))]
    names = np.array([file.path.stem for file in files])
    return Photos(files, np.array([name[:2] for name in plant]), plant, day.astype(np.int64), names)


def dataset(photos: Photos, **options: object) -> PairDataset:
    images = np.random.default_rng(0).integers(0, 256, (len(photos.day), 8, 8, 3), dtype=np.uint8)
    return PairDataset(images, photos, np.arange(len(photos.day)), **options)  # type: ignore[arg-type]


def test_all_pairs_are_every_earlier_with_every_later_photo_of_a_plant() -> None:
    groups, day = np.array([0, 0, 1, 0, 1]), np.array([3, 1, 5, 2, 5])
    before, after = all_pairs(groups, day)
    assert set(zip(before.tolist(), after.tolist(), strict=True)) == {(1, 0), (3, 0), (1, 3)}


def test_batch_holds_each_photo_once_with_its_days() -> None:
    photos = table([5, 4])
    batch = dataset(photos)[[0, 2, 3, 6, 8]]
    assert batch.images.shape == (5, 3, 8, 8)
    assert batch.images.dtype == torch.uint8
    assert batch.days.tolist() == [4, 6, 2, 4]
    assert batch.species.tolist() == [0, 0, 0, 1]


def test_given_pairs_share_their_photos() -> None:
    batch = dataset(table([5]))[[(0, 1), (0, 2), (1, 2)]]
    assert len(batch.images) == 3
    assert batch.days.tolist() == [2, 4, 2]
    assert (batch.before.tolist(), batch.after.tolist()) == ([0, 0, 1], [1, 2, 2])


@pytest.mark.parametrize("photos_per_plant", [[10] * 6, [2, 3, 40, 7], [5]])
def test_epoch_takes_every_photo_once_in_deals_of_a_plant(photos_per_plant: list[int]) -> None:
    photos = table(photos_per_plant)
    deal = PlantBatches(photos.plant, photos.day, plants_per_batch=2, images_per_plant=4)
    batches = deal(np.random.default_rng(0))
    assert len(batches) == len(deal)
    assert Counter(row for batch in batches for row in batch) == Counter(range(len(photos.day)))
    for batch in batches:
        assert min(Counter(photos.plant[batch].tolist()).values()) >= 2  # no photo without a pair
    assert deal(np.random.default_rng(0)) == batches
    assert deal(np.random.default_rng(1)) != batches


@pytest.mark.parametrize("moments", [[3] * 6, [1, 1, 7, 1], [5, 1], [2, 2], [3, 1, 1, 3, 2, 2, 5, 1, 1]])
@pytest.mark.parametrize("images_per_plant", [2, 4, 8])
def test_photos_of_one_moment_are_never_alone(moments: list[int], images_per_plant: int) -> None:
    day = np.repeat(np.arange(len(moments)) / 6, moments).astype(np.float32)
    photos = table([len(day), 9])
    days = np.concatenate([day, np.arange(9)])
    deal = PlantBatches(photos.plant, days, plants_per_batch=1, images_per_plant=images_per_plant)
    for seed in range(5):
        batches = deal(np.random.default_rng(seed))
        assert len(batches) == len(deal)
        assert Counter(row for batch in batches for row in batch) == Counter(range(len(days)))
        for batch in batches:
            before, after = all_pairs(photos.plant[batch], days[batch])
            assert len(before) and (days[batch][before] < days[batch][after]).all()
    assert deal(np.random.default_rng(0)) != deal(np.random.default_rng(1))


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    photos = table([5, 3, 9])
    deal = PlantBatches(photos.plant, photos.day, plants_per_batch=6, images_per_plant=10)
    (batch,) = deal(np.random.default_rng(0))
    assert sorted(batch) == list(range(17))


def test_random_pairs_are_never_of_one_moment() -> None:
    day = np.array([0, 0, 0, 1.5, 1.5], dtype=np.float32)
    (batch,) = RandomPairBatches(np.zeros(5), day, num_pairs=64, pairs_per_batch=64)(np.random.default_rng(0))
    assert {(day[before], day[after]) for before, after in batch} == {(0, 1.5)}
    assert {before for before, _ in batch} == {0, 1, 2}


def test_random_pairs_are_of_one_group_and_in_order() -> None:
    photos = table([3, 8, 2])
    for groups in (photos.plant, photos.species):
        batches = RandomPairBatches(groups, photos.day, num_pairs=100, pairs_per_batch=16)(np.random.default_rng(0))
        assert [len(batch) for batch in batches] == [16] * 6
        for before, after in (pair for batch in batches for pair in batch):
            assert groups[before] == groups[after]
            assert photos.day[before] < photos.day[after]


def network(design: str, seed: int = 0) -> PairNet:
    torch.manual_seed(seed)
    encoder = partial(build_backbone, "resnet18", in_channels=3, num_outputs=1, image_size=16, stem="small")
    return PairNet(encoder, Normalize("image", 3), design, days_scale=10.0).eval()  # type: ignore[arg-type]


def test_all_pairs_give_loss_and_gradient_of_the_pairs_one_by_one() -> None:
    photos = table([5, 4])
    batch = dataset(photos)[list(range(9))]
    images = batch.images.float() / 255
    together, apart = network("siamese").double(), network("siamese").double()
    loss = pair_loss("mse", together(images.double(), batch.before, batch.after), batch.days)
    loss.backward()
    first, second = torch.tensor([0]), torch.tensor([1])
    for before, after, days in zip(batch.before, batch.after, batch.days, strict=True):
        pair = torch.stack([images[before], images[after]]).double()
        one = pair_loss("mse", apart(pair, first, second), days[None]) / len(batch.days)
        one.backward()
    for a, b in zip(together.parameters(), apart.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5)


def test_siamese_is_antisymmetric_and_additive() -> None:
    net, images = network("siamese"), torch.rand(3, 3, 16, 16)
    codes = net.encode(images)
    before, after = torch.tensor([0, 1, 0]), torch.tensor([1, 2, 2])
    forth, back = pair_days(codes, before, after), pair_days(codes, after, before)
    assert torch.equal(forth, -back)
    assert torch.allclose(forth[0] + forth[1], forth[2], atol=1e-5)


def test_twin_has_two_networks_of_its_own() -> None:
    net, images = network("twin"), torch.rand(2, 3, 16, 16)
    codes = net.encode(images)
    normal = net.normalize(images)
    assert net.before_net is not None
    assert torch.allclose(codes[:, 0], net.before_net(normal)[:, 0] * net.days_scale)
    assert torch.allclose(codes[:, 1], net.after_net(normal)[:, 0] * net.days_scale)
    siamese = sum(parameter.numel() for parameter in network("siamese").parameters())
    assert sum(parameter.numel() for parameter in net.parameters()) == 2 * siamese


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "resnext50_32x4d"])
def test_grad_checkpointing_changes_neither_names_nor_gradients(name: str) -> None:
    nets = []
    for grad_checkpointing in (False, True):
        torch.manual_seed(0)
        net = GrowthRegressor(name, image_size=32, pretrained=False, grad_checkpointing=grad_checkpointing).net
        net.eval()  # the same numbers, without dropout and running averages
        days = net(
            torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)), torch.tensor([0]), torch.tensor([1])
        )
        days.sum().backward()
        nets.append(net)
    plain, checkpointed = nets
    assert plain.state_dict().keys() == checkpointed.state_dict().keys()
    wrapped = [module for module in checkpointed.modules() if type(module).__name__ == "CheckpointWrapper"]
    assert len(wrapped) >= 8
    for a, b in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_losses() -> None:
    predicted, days = torch.tensor([1.0, 5.0]), torch.tensor([2.0, 2.0])
    assert pair_loss("mse", predicted, days).item() == pytest.approx(5)
    assert pair_loss("rmse", predicted, days).item() == pytest.approx(5**0.5)
    assert pair_loss("l1", predicted, days).item() == pytest.approx(2)
    assert pair_loss("huber", predicted, days).item() == pytest.approx((0.5 + 2.5) / 2)


def test_outputs_stay_float32_under_mixed_precision() -> None:
    net, images = network("siamese"), torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        codes = net.encode(images)
    assert codes.dtype == torch.float32
    assert not torch.equal(codes, codes.bfloat16().float())
