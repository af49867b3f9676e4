"""Batches of the peers that score with transformers."""
import torch


def padded(texts, pad):
    """Lists of token ids -> (ids, mask), each [texts, longest], padded at the end."""
    longest = max(map(len, texts))
    ids = torch.full((len(texts), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, :len(text)] = torch.tensor(text)
        mask[row, :len(text)] = 1
    return ids, mask
