"""Figures: every line of the table is sound, hangs together by arithmetic, and is shown with its source."""

import re
from dataclasses import FrozenInstanceError

import pytest

from course_lib import facts
from course_lib.facts import (
    Fact,
    Statement,
    UnitError,
    UnknownId,
    Unsourced,
    all_facts,
    cite,
    convert,
    fact,
    statement,
)
from course_lib.units import JOULES_PER_KWH

ROWS = all_facts()
FIGURES = {k: r for k, r in ROWS.items() if isinstance(r, Fact)}


def test_the_table_holds_all_groups():
    shipped = {id.split("_")[0] for id in ROWS}
    groups = """tr split breakeven chatgpt q ml moe lora qlora bytes bpw kv gpt3 gemma4 ph hw cpu cc op
                net grid pue dc rb koomey afnor"""
    assert set(groups.split()) <= shipped
    assert len(FIGURES) >= 470 and len(ROWS) - len(FIGURES) >= 9


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_every_row_is_sound(row):
    assert re.fullmatch(r"[A-Za-z0-9_+-]+", row.id)
    assert row.quantity and row.title and row.reference and row.where
    assert row.read in facts.READ and row.confidence == ("memory" if row.read == "memory" else "checked")
    assert row.year is None or 1865 <= row.year <= 2035
    assert not re.search(r"[|<>{}]", row.quantity + row.boundary + row.note + row.title + row.where)
    if isinstance(row, Statement):
        assert len(row.note) > 30 and not hasattr(row, "value")
        return
    assert (row.low is None) == (row.high is None) and row.kind in ("figure", "range")
    if row.low is not None:
        assert row.low <= row.value <= row.high
    if row.kind == "range":  # the middle stands for nobody's statement, so it must be the middle
        assert row.value == pytest.approx((row.low + row.high) / 2, rel=0.01)
    if re.search("MWh|GWh|Wh|J/", row.unit):
        assert row.boundary, "an energy without its boundary cannot be compared"


# Every line: one side = other side ~ relative tolerance. A name is the stored number, in its stored unit.
ARITHMETIC = """
tr_gpt3_flops / (tr_gpt3_rate * 1e12) * tr_gpt3_power * tr_gpt3_pue / 3.6e9 = tr_gpt3_energy ~ 0.002
tr_gpt3_check = tr_gpt3_energy ~ 0
tr_gpt3_flops / (tr_gpt3_rate * 1e12) / tr_gpt3_chips / 86400 = tr_gpt3_days ~ 0.005
tr_gpt3_energy * grid_us2020 / 1000 = tr_gpt3_co2 ~ 0.001
tr_gpt3_rate / hw_v100_peak = 0.2 ~ 0.03
tr_v100_tdp = hw_v100_tdp ~ 0
tr_bloom_gpuh * hw_a100_tdp / 1e6 = tr_bloom_dyn ~ 1e-6
tr_bloom_dyn * grid_jeanzay / 1000 = tr_bloom_co2 ~ 0.001
tr_bloom_co2 * pue_jeanzay = tr_bloom_co2_pue ~ 0.005
tr_bloom_dyn / tr_bloom_project * 100 = tr_bloom_share ~ 0.002
q_bloom_energy * 1000 / q_bloom_requests = q_bloom ~ 0.001
tr_gopher_chips * tr_gopher_hours * hw_tpu3_measured / 1e6 = tr_gopher ~ 0.001
6144 * 1200 + 3072 * 336 = tr_palm_hours ~ 0
tr_palm_hours * tr_palm_power * tr_palm_pue / 1e6 = tr_palm_energy ~ 0.001
tr_llama2_70b * hw_a100_tdp / 1e6 = tr_llama2_70b_energy ~ 0.001
tr_llama3_8b * hw_h100_tdp / 1e9 = tr_llama3_8b_e ~ 0.003
tr_llama3_70b * hw_h100_tdp / 1e9 = tr_llama3_70b_e ~ 0.003
tr_llama31_8b * hw_h100_tdp / 1e9 = tr_llama31_8b_e ~ 0.003
tr_llama31_70b * hw_h100_tdp / 1e9 = tr_llama31_70b_e ~ 0.003
tr_llama31_405b * hw_h100_tdp / 1e9 = tr_llama31_405b_e ~ 0.003
tr_dsv3_hours_pretrain + tr_dsv3_hours_context + tr_dsv3_hours_post = tr_dsv3_hours ~ 0
tr_dsv3_hours * hw_h100_tdp / 1e9 = tr_dsv3_energy_h100 ~ 0.002
tr_olmo2_7b * tr_olmo2_7b_pue = tr_olmo2_7b_facility ~ 0.002
tr_olmo2_13b * tr_olmo2_13b_pue = tr_olmo2_13b_facility ~ 0.002
tr_dev_share / tr_dev_training * 100 = tr_dev_percent ~ 0.001
tr_starcoder_hours * tr_starcoder_power / 1e6 = tr_starcoder ~ 0.001
tr_et_nas_estimate / tr_et_nas_co2 = 88 ~ 0.02
split_google + split_google_training = 100 ~ 0
split_meta_power_experimentation + split_meta_power_training + split_meta_power_inference = 100 ~ 0
split_meta_rm1_data + split_meta_rm1_training + split_meta_rm1_inference = 100 ~ 0
split_meta_lm_inference + split_meta_lm_training = 100 ~ 0
chatgpt_prompts / 86400 = chatgpt_prompts_second ~ 0.002
chatgpt_prompts * q_chatgpt_altman / 1e6 = chatgpt_energy_day ~ 0.001
tr_gpt3_energy / chatgpt_energy_day = chatgpt_gpt3_days ~ 0.003
q_gemini_accelerator + q_gemini_host + q_gemini_idle + q_gemini_overhead = q_gemini ~ 1e-9
1000 / q_gemini = 4167 ~ 0.001
1000 / q_gemini_narrow = 10000 ~ 0.001
q_imggen / q_textclass = q_task_spread ~ 0.005
ml_q14b_b8 / ml_q14b = 12.8 ~ 0.005
ml_q32b / ml_q30a3 = 2.5 ~ 0.01
ml_dsv31 / ml_l70 = 2.8 ~ 0.01
1 - ml_scout / ml_l70_h100 = 0.21 ~ 0.03
ml_q32b_gpqa / ml_oss120 = 8 ~ 0.02
ml_r1 / 3600 = 7.4 ~ 0.01
ml_dsv31_reply / 3600 = 0.14 ~ 0.02
ml_flux / 3600 = 2.1 ~ 0.01
ml_hunyuan / 3600 = 323 ~ 0.002
moe_dsv3_active / moe_dsv3_total * 100 = moe_dsv3_share ~ 0.01
moe_mixtral7_active / moe_mixtral7_total * 100 = moe_mixtral7_share ~ 0.01
3 * moe_mixtral7_d_model * moe_mixtral7_d_ff / 1e6 = moe_mixtral7_ffn ~ 0.002
(moe_mixtral7_experts - moe_mixtral7_topk) * moe_mixtral7_layers * moe_mixtral7_ffn / 1000 = \
moe_mixtral7_total - moe_mixtral7_active ~ 0.005
100 / moe_mixtral7_experts = moe_mixtral_consec_random ~ 0
moe_gemma26mem_bf16 / 2 = moe_gemma26mem_8bit ~ 0.01
moe_gemma26mem_bf16 / 4 = moe_gemma26mem_q4 ~ 0.01
2 * gpt3_params = moe_gpt3_flops ~ 0.001
gpt3_params * bytes_fp16_bf16 = gpt3_weights ~ 0.001
gpt3_weights * 1000 / lora_ckpt = lora_ratio ~ 0.001
lora_params_full / lora_params_r4 = lora_ratio ~ 0.03
lora_deploy + 100 * lora_ckpt / 1000 = lora_100tasks ~ 0.003
100 * gpt3_weights / 1000 = lora_100tasks_full ~ 0.001
lora_speed_lora / lora_speed_full = 4 / 3 ~ 0.01
65 * (2 + 2 + 8) = qlora_mem_full ~ 0
8.03e9 * bpw_F16 / 8 / 2**30 = bpw_F16_file ~ 0.003
8.03e9 * bpw_Q8_0 / 8 / 2**30 = bpw_Q8_0_file ~ 0.003
8.03e9 * bpw_Q5_K_M / 8 / 2**30 = bpw_Q5_K_M_file ~ 0.003
8.03e9 * bpw_Q4_K_M / 8 / 2**30 = bpw_Q4_K_M_file ~ 0.003
8.03e9 * bpw_Q2_K / 8 / 2**30 = bpw_Q2_K_file ~ 0.003
4 + 8 / 32 = bpw_mxfp4 ~ 0
2 * 32 * 8 * 128 * 2 / 1024 = kv_llama8b ~ 0
32768 * kv_llama8b / 2**20 = kv_llama8b_32k ~ 0
ph_apple_3b * 2 / 8 = ph_apple_3b_weights ~ 0.001
0.20 * 3.6 = ph_melt ~ 0.001
0.16 * 3.6 = ph_melt_llmfarm ~ 0.01
ph_battery / 3.6 = 13.9 ~ 0.01
hw_dgx_a100 * 1000 / hw_dgx_gpus = hw_dgx_a100_per_gpu ~ 0.001
hw_dgx_h100 * 1000 / hw_dgx_gpus = hw_dgx_h100_per_gpu ~ 0.001
hw_tpu3_tdp / hw_tpu3_measured = 1.6 ~ 0.01
8 * 3.5 * 32 = cpu_laptop_peak ~ 0
2 * 8 * 5.6 = cpu_laptop_bw ~ 1e-9
3 / 8 = cc_ram_v2 ~ 0
op_dram / 4 / (op_add16 + op_mul16) = op_ratio ~ 0.001
1e-5 * 1000 * (net_aslan20 + net_router) = net_text_fixed ~ 0.001
1e-5 * 1000 * net_mobile_ct = net_text_mobile ~ 0.001
net_aslan20 + net_router = net_photo_fixed ~ 0.001
net_mobile_ct = net_photo_mobile ~ 0.001
2 * 1000 * (net_aslan20 + net_router) = net_model_fixed ~ 0.001
2 * 1000 * net_mobile_ct = net_model_mobile ~ 0.001
net_text_fixed / q_gemini * 100 = net_text_fixed_share ~ 0.02
net_text_mobile / q_gemini * 100 = net_text_mobile_share ~ 0.02
net_photo_fixed / q_gemini * 100 = net_photo_fixed_share ~ 0.02
net_photo_mobile / q_gemini * 100 = net_photo_mobile_share ~ 0.02
net_model_fixed / q_gemini = net_model_fixed_prompts ~ 0.003
net_model_mobile / q_gemini = net_model_mobile_prompts ~ 0.003
net_finland_2010 / net_finland_2017 = 41 ~ 0.01
dc_iea24 / dc_iea_share * 100 = dc_world24 ~ 0.002
dc_ai_share * dc_iea_share / 100 = dc_ai_elec ~ 0.01
dc_ai_share * dc_iea24 / 100 = dc_ai_twh ~ 0.01
dc_iea_share * dc_elec_final / 100 = dc_final_share ~ 1e-9
rb_google_tokens_2025 / rb_google_tokens_2024 = rb_google_tokens ~ 0.001
(5 - 2) / 5 * 100 = rb_def ~ 0
"""
LINES = ARITHMETIC.replace("\\\n", "").strip().splitlines()


@pytest.mark.parametrize("line", LINES)
def test_the_figures_hang_together(line):
    sides, tolerance = line.rsplit(" ~ ", 1)
    numbers = {id: row.value for id, row in FIGURES.items()}  # those from memory too: nothing is shown
    left, right = (eval(side, {"__builtins__": {}}, numbers) for side in sides.split(" = "))
    assert left == pytest.approx(right, rel=float(tolerance) or 1e-12)


def test_the_rumour_gives_both_gpt4_ranges():
    gpus, days = fact("tr_gpt4_rumour_gpus").to("GPU"), fact("tr_gpt4_rumour_days").bounds("h")
    chips = [gpus * h * fact("hw_a100_tdp").to("W") / 1e9 for h in days]
    per_gpu = fact("hw_dgx_a100").to("W") / fact("hw_dgx_gpus").value
    servers = [gpus * h * per_gpu * fact("tr_gpt4_rumour_pue").to("ratio") / 1e9 for h in days]
    assert chips == pytest.approx(fact("tr_gpt4_gpuonly").bounds("GWh"), rel=0.002)
    assert servers == pytest.approx(fact("tr_gpt4_server").bounds("GWh"), rel=0.002)
    low, high = fact("tr_gpt4_article").bounds("GWh")
    assert low < chips[0] < chips[1] < high < servers[0]


def test_conversion():
    assert convert(1, "kWh", "J") == 3.6e6 and convert(1287, "MWh", "GWh") == pytest.approx(1.287)
    assert convert(2, "GPU-h", "GPU-s") == 7200 and convert(1, "kW-h", "MJ") == pytest.approx(3.6)
    assert convert(1, "J/token", "Wh/token") == pytest.approx(1 / 3600)
    assert convert(8, "bit/weight", "byte/param") == 1 and convert(50, "%", "ratio") == 0.5
    assert convert(1, "GiB", "GB") == pytest.approx(1.073741824) and convert(1, "W/Mbps", "J/byte") == 8e-6
    assert convert(0.1, "MWh", "MWh") == 0.1
    for unit in {r.unit for r in FIGURES.values()}:
        assert convert(convert(3.0, unit, unit), unit, unit) == 3.0


@pytest.mark.parametrize(("a", "b", "words"), [
    ("kWh", "GB", "5 kWh cannot be given in GB, a unit of another kind: kWh converts to .*MWh"),
    ("GPU-h", "h", "GPU-h cannot be given in h"), ("FLOP", "FLOP/s", "FLOP cannot be given in FLOP/s"),
    ("kwh", "J", "'kwh' is not a unit of this course: did you mean kWh"), ("", "J", "'' is not a unit"),
    ("GB", "GB/s", "GB cannot be given in GB/s"), ("prompt", "token", "prompt cannot be given in token")])
def test_a_unit_that_does_not_convert(a, b, words):
    with pytest.raises(UnitError, match=words) as error:
        convert(5, a, b)
    assert "\n" not in str(error.value) and error.value.__cause__ is None


@pytest.mark.parametrize(("call", "words"), [
    (lambda: convert("1", "s", "h"), "'1' is not a number: give a number of s"),
    (lambda: convert(None, "s", "h"), "None is not a number"), (lambda: convert([1], "s", "h"), "is not a number"),
    (lambda: convert(True, "s", "h"), "True is not a number"),
    (lambda: convert(1, "s", None), "None is not a unit of this course"),
    (lambda: convert(1, ["s"], "h"), r"\['s'\] is not a unit of this course"),
    (lambda: fact("tr_gpt3_energy").to(3), "3 is not a unit of this course")])
def test_a_wrong_type_gets_one_sentence(call, words):
    with pytest.raises(UnitError, match=words) as error:
        call()
    assert "\n" not in str(error.value) and error.value.__cause__ is None


def test_arrays_convert_too():
    import numpy as np

    assert convert(np.array([1.0, 2.0]), "kWh", "MJ") == pytest.approx([3.6, 7.2])
    assert convert(np.float32(2), "h", "s") == 7200 and JOULES_PER_KWH == convert(1, "kWh", "J")
    with pytest.raises(UnitError, match="^kWh cannot be given in GB"):
        convert(np.ones(2), "kWh", "GB")


def test_text_of_a_fact():
    assert str(fact("tr_gpt3_energy")).startswith("1,287 MWh (Patterson et al. 2021, arXiv:2104.10350, ")
    texts = {"split_nvidia": "80 to 90 %", "q_gpt4o_jegham": "0.42 Wh (0.29 to 0.55)", "tr_gpt3_pue": "1.1",
             "tr_gpt4_rumour_days": "90 to 100 days", "moe_dsv3_total": "671 billion parameters",
             "q_gemini_33x": "33 times", "rb_jevons": "1865", "lora_speed_full": "32.5 tokens/s",
             "tr_gpt3_flops": "3.14e+23 FLOP", "moe_dsv3_shared": "1 expert",
             "net_text_fixed": "0.000315 Wh", "breakeven_bloomz7b": "592,570,000 inferences"}
    assert {k: fact(k).text for k in texts} == texts
    assert "1,287 MWh" in repr(fact("tr_gpt3_energy"))
    assert fact("tr_gpt3_energy").bounds("GWh") == pytest.approx((1.287, 1.287))
    with pytest.raises(FrozenInstanceError):
        fact("tr_gpt3_energy").value = 1.0


@pytest.mark.parametrize(("call", "words"), [
    (lambda: fact("tr_gpt3_enrgy"), "'tr_gpt3_enrgy' is not a figure.*did you mean tr_gpt3_energy"),
    (lambda: fact("moe_dsv3"), "did you mean moe_dsv3_total or moe_dsv3_active"),
    (lambda: fact("moe_toy"), r"'moe_toy' is a statement.*statement\('moe_toy'\)"),
    (lambda: statement("tr_t5"), r"'tr_t5' is a fact.*fact\('tr_t5'\)"),
    (lambda: fact(["tr_t5"]), r"\['tr_t5'\] is not a figure"), (lambda: fact(None), "None is not a figure"),
    (lambda: statement({"a": 1}), "is not a figure"), (lambda: cite(["tr_t5"]), "is not a figure"),
    (lambda: cite("tr_t5", "§§§§"), "'§§§§' is not a figure.*ids look like tr_gpt3_energy")])
def test_an_unknown_id(call, words):
    with pytest.raises(UnknownId, match=words) as error:
        call()
    assert isinstance(error.value, KeyError) and not str(error.value).startswith('"')


def test_a_figure_from_memory_is_never_shown():
    unsourced = [r for r in ROWS.values() if r.read == "memory"]
    assert len(unsourced) >= 10
    for row in unsourced:
        for show in (str, lambda r: r.text, lambda r: r.to(r.unit), Fact.bounds, lambda r: cite(r.id)):
            with pytest.raises(Unsourced, match="wants a source"):
                show(row)
        assert f"{row.value:g}" not in repr(row).replace(row.id, "")


def test_statements_can_be_read_and_cited():
    assert "conditional" in statement("moe_toy").text and "neuralwatt" in str(statement("moe_toy"))
    assert "conditional" in str(cite("moe_toy"))


def test_sources_table():
    table = cite("tr_gpt3_energy", "q_gemini", "tr_palm_energy", "tr_gpt3_energy")
    text, markdown, html = str(table), table._repr_markdown_(), table._repr_html_()
    for shown in (text, markdown, html):
        for piece in ("1,287 MWh", "final run only", "2021", "Carbon Emissions and Large", "Table 4",
                      "read in the primary text", "as quoted by a secondary source", "derived by arithmetic"):
            assert piece in shown
    for shown in (markdown, html):
        assert shown.count('<a id="tr_gpt3_energy"></a>') == 1
    assert markdown.count("\n") == 4 and all(line.count("|") == 8 for line in markdown.splitlines())
    assert "[arXiv:2104.10350](https://arxiv.org/abs/2104.10350)" in markdown
    assert '<a href="https://arxiv.org/abs/2104.10350">' in html and html.count("<tr>") == 4
    assert "doi.org/10.1111/jiec.12630" in cite("net_aslan")._repr_html_()
    with pytest.raises(ValueError, match="no id"):
        cite()


GOOD = {"id": "x", "kind": "figure", "quantity": "q", "value": "1", "low": "", "high": "", "unit": "kWh",
        "boundary": "b", "year": "2020", "title": "t", "reference": "r", "where": "w", "read": "primary",
        "confidence": "checked", "note": ""}


@pytest.mark.parametrize(("change", "words"), [
    ({"value": "671 / 37"}, "line 'x'.*671 / 37"), ({"value": ""}, "line 'x'"), ({"low": "a"}, "line 'x'"),
    ({"unit": "W + W/Mbps"}, "line 'x'.*is not a unit"), ({"unit": ""}, "line 'x'.*is not a unit"),
    ({"read": "P"}, "line 'x'.*'P' is not a way of reading"), ({"year": "2025?"}, "line 'x'")])
def test_a_line_that_is_not_sound_is_refused(change, words):
    assert facts._row(dict(GOOD)).value == 1
    with pytest.raises(ValueError, match=words):
        facts._row(GOOD | change)
