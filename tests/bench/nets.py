#!/usr/bin/env python3
"""Writes models of many architectures with random weights, for peers.py: NAME.onnx in a folder.

    pip install numpy onnx onnxscript torch transformers
    python3 tests/bench/nets.py DIR [NAME ...]

Each has the widths of the network its name says and few layers (2 mostly), so that the time per
layer shows, and is written by torch's exporter as a user would. The encoders and decoders are the
implementations of transformers; NAME_decode takes one token and keys and values of earlier
ones. Dimensions are named batch, seq, past: peers.py --dims sets them.
"""
import os, sys, warnings

import torch
import torch.nn as nn
import transformers as tf

warnings.filterwarnings("ignore")
out, wanted = sys.argv[1], sys.argv[2:]
Dim = torch.export.Dim
batch, seq, past = Dim("batch", min=1, max=64), Dim("seq", min=1, max=2048), Dim("past", min=1, max=2048)


def write(name, model, args, names, outputs, shapes):
    torch.manual_seed(0)
    model = model.eval()
    with torch.no_grad():
        torch.onnx.export(model, args, os.path.join(out, name + ".onnx"), input_names=names, output_names=outputs, dynamic_shapes=shapes, dynamo=True, external_data=False, verbose=False)


def randomise(model):
    """Weights of the usual scale, and norms and biases that are not the identity."""
    torch.manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.normal_(0, 1 / p[0].numel() ** 0.5)
            else:
                p.add_(torch.randn_like(p) * 0.1)
    return model


class Last(nn.Module):
    """The first output of a model of token ids and a mask."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask):
        return self.inner(input_ids=input_ids, attention_mask=attention_mask)[0]


class First(nn.Module):
    """The first output of a model of one input."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        y = self.inner(x)
        return y[0] if isinstance(y, (tuple, tf.utils.ModelOutput)) else y


def tokens(name, inner):
    ids, mask = torch.ones(2, 16, dtype=torch.int64), torch.ones(2, 16, dtype=torch.int64)
    s = {0: batch, 1: seq}
    write(name, Last(randomise(inner)), (ids, mask), ["input_ids", "attention_mask"], ["y"], (s, s))


def single(name, inner, x, shape):
    write(name, First(randomise(inner)), (x,), ["x"], ["y"], (shape,))


class Cached(nn.Module):
    """A decoder with its cache as flat inputs and outputs: keys and values of each layer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask, position_ids, kv):
        cache = tf.DynamicCache()
        for i in range(len(kv) // 2):
            cache.update(kv[2 * i], kv[2 * i + 1], i)
        y = self.inner(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=cache, use_cache=True)
        return y[0], [t for l in y.past_key_values.layers for t in (l.keys, l.values)]


def decoder(name, inner, layers, heads, size):
    tokens(name, inner)
    b, p = 2, 8
    args = (torch.ones(b, 1, dtype=torch.int64), torch.ones(b, p + 1, dtype=torch.int64), torch.full((b, 1), p, dtype=torch.int64), [torch.randn(b, heads, p, size) for _ in range(2 * layers)])
    names = [f"{w}_{k}_{i}" for w in ("past", "present") for i in range(layers) for k in ("key", "value")]
    n = 2 * layers
    write(name + "_decode", Cached(inner), args, ["input_ids", "attention_mask", "position_ids", *names[:n]], ["y", *names[n:]],
          ({0: batch}, {0: batch, 1: past + 1}, {0: batch}, [{0: batch, 2: past}] * n))


def bert(): tokens("bert", tf.BertModel(tf.BertConfig(num_hidden_layers=2, vocab_size=8000), add_pooling_layer=False))
def distilbert(): tokens("distilbert", tf.DistilBertModel(tf.DistilBertConfig(n_layers=2, vocab_size=8000)))
def t5(): tokens("t5", tf.T5EncoderModel(tf.T5Config(num_layers=2, vocab_size=8000, feed_forward_proj="gated-gelu", d_ff=1024)))
def gpt2(): decoder("gpt2", tf.GPT2LMHeadModel(tf.GPT2Config(n_layer=2, vocab_size=8000)), 2, 12, 64)


def llama():
    c = tf.LlamaConfig(hidden_size=1024, intermediate_size=2816, num_hidden_layers=2, num_attention_heads=16, num_key_value_heads=4, vocab_size=8000)
    decoder("llama", tf.LlamaForCausalLM(c), 2, 4, 64)


def qwen():  # heads of 128, norms of queries and keys
    c = tf.Qwen3Config(hidden_size=1024, intermediate_size=3072, num_hidden_layers=2, num_attention_heads=16, num_key_value_heads=8, head_dim=128, vocab_size=8000)
    decoder("qwen3", tf.Qwen3ForCausalLM(c), 2, 8, 128)


def vit(): single("vit", tf.ViTModel(tf.ViTConfig(num_hidden_layers=2), add_pooling_layer=False), torch.randn(2, 3, 224, 224), {0: batch})
def swin(): single("swin", tf.SwinModel(tf.SwinConfig(depths=[2, 2], num_heads=[3, 6])), torch.randn(2, 3, 224, 224), {0: batch})


def whisper():
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    c = tf.WhisperConfig(d_model=512, encoder_layers=2, encoder_attention_heads=8, encoder_ffn_dim=2048)
    single("whisper", WhisperEncoder(c), torch.randn(2, 80, 3000), {0: batch})


def wav2vec2():
    c = tf.Wav2Vec2Config(num_hidden_layers=2)
    single("wav2vec2", tf.Wav2Vec2Model(c), torch.randn(2, 16000), {0: batch})


def deberta():  # attention to content and to relative positions
    c = tf.DebertaV2Config(num_hidden_layers=2, vocab_size=8000, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=256, max_relative_positions=512)
    tokens("deberta", tf.DebertaV2Model(c))


def clip(): tokens("clip_text", tf.CLIPTextModel(tf.CLIPTextConfig(num_hidden_layers=2, vocab_size=8000, max_position_embeddings=512)))
def dinov2(): single("dinov2", tf.Dinov2Model(tf.Dinov2Config(num_hidden_layers=2, use_swiglu_ffn=True)), torch.randn(2, 3, 224, 224), {0: batch})


def segformer():
    c = tf.SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[32, 64, 160, 256])
    single("segformer", tf.SegformerForSemanticSegmentation(c), torch.randn(2, 3, 256, 256), {0: batch})


def conformer():  # gated and depthwise convolutions beside attention with relative positions
    c = tf.Wav2Vec2ConformerConfig(num_hidden_layers=2, hidden_size=512, intermediate_size=2048, num_attention_heads=8)
    single("conformer", tf.Wav2Vec2ConformerModel(c), torch.randn(2, 16000), {0: batch})


def gemma():
    c = tf.Gemma2Config(hidden_size=768, intermediate_size=3072, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=4, head_dim=96, vocab_size=8000)
    decoder("gemma2", tf.Gemma2ForCausalLM(c), 2, 4, 96)


def mobilebert(): tokens("mobilebert", tf.MobileBertModel(tf.MobileBertConfig(num_hidden_layers=4, vocab_size=8000), add_pooling_layer=False))


class Mixer(nn.Module):
    def __init__(self, d=512, n=196, layers=2):
        super().__init__()
        mlp = lambda i, h: nn.Sequential(nn.Linear(i, h), nn.GELU(), nn.Linear(h, i))
        self.patch = nn.Conv2d(3, d, 16, 16)
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(2 * layers))
        self.across = nn.ModuleList(mlp(n, 256) for _ in range(layers))
        self.within = nn.ModuleList(mlp(d, 4 * d) for _ in range(layers))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        for i, (a, w) in enumerate(zip(self.across, self.within)):
            x = x + a(self.norms[2 * i](x).transpose(1, 2)).transpose(1, 2)
            x = x + w(self.norms[2 * i + 1](x))
        return x.mean(1)


def mixer(): single("mixer", Mixer(), torch.randn(2, 3, 224, 224), {0: batch})


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn = kind(256, 256, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(512, 64)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def recurrent():
    for name, kind in (("bilstm", nn.LSTM), ("bigru", nn.GRU)):
        m = Recurrent(kind)
        write(name, m, (torch.randn(2, 128, 256),), ["x"], ["y"], ({0: batch},))  # the exporter wants the steps fixed


class Recommender(nn.Module):
    """Embeddings of 26 categories and 13 numbers, their products by pairs, chains of layers."""

    def __init__(self, d=64):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(10000, d) for _ in range(26))
        chain = lambda *w: nn.Sequential(*[m for i, o in zip(w, w[1:]) for m in (nn.Linear(i, o), nn.ReLU())])
        self.bottom, self.top = chain(13, 512, 256, d), chain(d + 27 * 26 // 2, 1024, 1024, 512, 256)
        self.last = nn.Linear(256, 1)
        i, j = torch.tril_indices(27, 27, -1)
        self.register_buffer("pairs", i * 27 + j)

    def forward(self, numbers, ids):
        x = self.bottom(numbers)
        e = torch.stack([x] + [t(ids[:, k]) for k, t in enumerate(self.tables)], 1)
        z = torch.bmm(e, e.transpose(1, 2)).flatten(1).index_select(1, self.pairs)
        return torch.sigmoid(self.last(self.top(torch.cat([x, z], 1))))


def recommender():
    write("recommender", randomise(Recommender()), (torch.randn(2, 13), torch.ones(2, 26, dtype=torch.int64)), ["numbers", "ids"], ["y"], ({0: batch}, {0: batch}))


class Block(nn.Module):
    def __init__(self, c, o):
        super().__init__()
        self.a = nn.Sequential(nn.GroupNorm(8, c), nn.SiLU(), nn.Conv2d(c, o, 3, padding=1))
        self.b = nn.Sequential(nn.GroupNorm(8, o), nn.SiLU(), nn.Conv2d(o, o, 3, padding=1))
        self.skip = nn.Conv2d(c, o, 1) if c != o else nn.Identity()

    def forward(self, x):
        return self.skip(x) + self.b(self.a(x))


class UNet(nn.Module):
    """As diffusion models have them: norms of groups, SiLU, attention at the bottom, nearest upsampling."""

    def __init__(self, c=64):
        super().__init__()
        self.first = nn.Conv2d(4, c, 3, padding=1)
        self.d1, self.d2, self.mid = Block(c, c), Block(c, 2 * c), Block(2 * c, 4 * c)
        self.s1, self.s2 = nn.Conv2d(c, c, 3, 2, 1), nn.Conv2d(2 * c, 2 * c, 3, 2, 1)
        self.norm, self.qkv, self.proj = nn.GroupNorm(8, 4 * c), nn.Conv2d(4 * c, 12 * c, 1), nn.Conv2d(4 * c, 4 * c, 1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.u2, self.u1 = Block(6 * c, 2 * c), Block(3 * c, c)
        self.last = nn.Conv2d(c, 4, 3, padding=1)

    def attend(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, 3, 4, c // 4, h * w).transpose(3, 4).unbind(1)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.proj(y.transpose(2, 3).reshape(b, c, h, w))

    def forward(self, x):
        a = self.d1(self.first(x))
        b = self.d2(self.s1(a))
        m = self.attend(self.mid(self.s2(b)))
        y = self.u2(torch.cat([self.up(m), b], 1))
        return self.last(self.u1(torch.cat([self.up(y), a], 1)))


def unet(): single("unet", UNet(), torch.randn(2, 4, 32, 32), {0: batch})


for f in (bert, distilbert, t5, gpt2, llama, qwen, vit, swin, whisper, wav2vec2, deberta, clip, dinov2, segformer, conformer, gemma, mobilebert, mixer, recurrent, recommender, unet):
    if wanted and f.__name__ not in wanted:
        continue
    try:
        f()
        print(f.__name__, "written", flush=True)
    except Exception as e:
        print(f.__name__, "FAILED", repr(e)[:600], flush=True)
