"""Each wrapper computes what the official module computes."""

import pytest
import torch

from engram_export.graphs import (
    ImageEncoder,
    MaskDecoder,
    MaskDownsample,
    MemoryAttention,
    MemoryEncoder,
    PromptEncoder,
    Retrieval,
)

B, CELLS, HIDDEN, MEMORY = 2, 8, 32, 8


def near(got, want):
    assert got.shape == want.shape
    assert float((got - want).abs().max()) <= 1e-5 * float(want.abs().max())


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def test_image_encoder(sam, predictor):
    image = torch.randn(B, 3, 128, 128)
    embed, high_0, high_1 = ImageEncoder(sam)(image)
    pyramid = predictor.forward_image(image)["backbone_fpn"]
    for got, want in zip((high_0, high_1, embed), pyramid, strict=True):
        near(got, want)


def test_memory_encoder(sam, predictor):
    embed, mask = torch.randn(B, HIDDEN, CELLS, CELLS), torch.randn(B, 1, 128, 128) * 4
    score = torch.tensor([[2.0], [-1.0]])
    got = MemoryEncoder(sam)(embed, mask.sigmoid() * 20 - 10, score)
    want, _ = predictor._encode_new_memory(
        [embed.flatten(2).permute(2, 0, 1)], [(CELLS, CELLS)], mask, score, False
    )
    near(got, want)


@pytest.mark.parametrize(("memories", "pointers"), [(1, 0), (1, 1), (3, 5), (14, 20)])
@pytest.mark.parametrize("chunk", [512, 20])
def test_memory_attention(sam, predictor, memories, pointers, chunk):
    embed = torch.randn(B, HIDDEN, CELLS, CELLS)
    remembered = torch.randn(B, memories, MEMORY, CELLS, CELLS)
    times = torch.randint(0, 7, (memories,))
    kept, away = torch.randn(B, pointers, HIDDEN), torch.rand(pointers) * 2 - 1
    got = MemoryAttention(sam, chunk)(embed, remembered, times, kept, away)

    from sam2.modeling.sam2_utils import get_1d_sine_pe

    place = predictor.memory_encoder.position_encoding(remembered[:, 0]).flatten(2)
    tokens = [m.flatten(2).permute(2, 0, 1) for m in remembered.unbind(1)]
    places = [
        (place.permute(2, 0, 1) + predictor.maskmem_tpos_enc[time]).expand(-1, B, -1)
        for time in times
    ]
    parts = HIDDEN // MEMORY
    encoded = predictor.obj_ptr_tpos_proj(get_1d_sine_pe(away, dim=HIDDEN))
    for number in range(pointers):
        tokens.append(kept[:, number].reshape(B, parts, MEMORY).transpose(0, 1))
        places.append(encoded[number].expand(parts, B, MEMORY))
    own = predictor.image_encoder.neck.position_encoding(embed).flatten(2).permute(2, 0, 1)
    want = predictor.memory_attention(
        curr=[embed.flatten(2).permute(2, 0, 1)],
        curr_pos=[own],
        memory=torch.cat(tokens),
        memory_pos=torch.cat(places),
        num_obj_ptr_tokens=pointers * parts,
    )
    near(got, want.permute(1, 2, 0).reshape(B, HIDDEN, CELLS, CELLS))


@pytest.mark.parametrize("has_mask", [True, False])
def test_prompts_and_decoder(sam, predictor, has_mask):
    points = torch.rand(B, 5, 2) * 128
    labels = torch.tensor([[1, 0, 2, 3, -1], [-1, 3, 2, 1, 0]])
    given = torch.randn(B, 1, 32, 32) * 8
    sparse, dense = PromptEncoder(sam)(points, labels, given, torch.full((B, 1), float(has_mask)))
    want_sparse, want_dense = predictor.sam_prompt_encoder(
        points=(points, labels), boxes=None, masks=given if has_mask else None
    )
    near(sparse, want_sparse)
    near(dense, want_dense)

    cond = torch.randn(B, HIDDEN, CELLS, CELLS)
    high_0, high_1 = torch.randn(B, 4, 32, 32), torch.randn(B, 8, 16, 16)
    masks, iou, score, pointers = MaskDecoder(sam)(cond, high_0, high_1, sparse, dense)
    want_masks, want_iou, tokens, want_score = predictor.sam_mask_decoder.predict_masks(
        image_embeddings=cond,
        image_pe=predictor.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=want_sparse,
        dense_prompt_embeddings=want_dense,
        repeat_image=False,
        high_res_features=[high_0, high_1],
    )
    near(masks, want_masks)
    near(iou, want_iou)
    near(score, want_score)
    near(pointers, predictor.obj_ptr_proj(tokens))


def test_mask_downsample(sam, predictor):
    mask = (torch.rand(B, 1, 128, 128) > 0.5).float()
    near(MaskDownsample(sam)(mask), predictor.mask_downsample(mask))


def test_retrieval_where_nothing_is_interpolated(dino):
    side = dino.config.image_size
    image = torch.randn(B, 3, side, side)
    cls, patches = Retrieval(dino, side)(image)
    want = dino(image).last_hidden_state
    near(cls, want[:, 0])
    near(patches, want[:, 1:])


def test_retrieval_with_interpolated_positions(dino):
    image = torch.randn(B, 3, 56, 56)
    cls, patches = Retrieval(dino, 56)(image)
    want = dino(image).last_hidden_state  # transformers leaves the offset out
    assert patches.shape == (B, 16, dino.config.hidden_size)
    assert float((cls - want[:, 0]).abs().max()) < 0.1 * float(want.abs().max())
