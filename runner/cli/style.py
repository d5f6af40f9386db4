"""How the page of a run looks: on a phone and on a desk, in light and in dark, and without colours."""

from __future__ import annotations

CSS = """
:root{--bg:#fff;--fg:#1f2328;--dim:#59636e;--line:#d1d9e0;--soft:#f6f8fa;--good:#116329;--bad:#a40e26;
--open:#7d4e00;--ins:#dafbe1;--del:#ffebe9}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--dim:#9198a1;--line:#3d444d;
--soft:#151b23;--good:#7ee787;--bad:#ff9492;--open:#e3b341;--ins:#12361f;--del:#4a1d20}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--bg);color:var(--fg);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem;
border-bottom:1px solid var(--line)}
.title,caption,footer,time,small,dt{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}.open{color:var(--open)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:.75rem;margin:1rem 0}dd{margin:0}
dt,small,time,caption{font-size:.875rem}
pre,code{font-family:ui-monospace,monospace;font-size:.85rem}
pre{margin:.5rem 0;padding:.5rem;background:var(--soft);border:1px solid var(--line);overflow-x:auto;
white-space:pre;overflow-wrap:normal;tab-size:4}
ins,del{text-decoration:none}ins{background:var(--ins)}del{background:var(--del)}
.text{white-space:pre-wrap}blockquote{margin:0;padding-left:1rem;border-left:.25rem solid var(--line)}
summary{cursor:pointer;padding:.25rem 0}
table{width:100%;border-collapse:collapse}caption{text-align:left}
th,td{text-align:left;vertical-align:top;padding:.35rem .5rem;border-bottom:1px solid var(--line)}
ul{margin:0;padding-left:1.2rem}ol{list-style:none;margin:0;padding:0}
ol li{display:grid;grid-template-columns:4.5rem 5.5rem minmax(0,1fr);gap:.5rem;padding:.2rem 0}
ol .day{display:block;font-weight:600;padding-top:.75rem}
th{overflow-wrap:normal}
@media (max-width:40rem){thead{position:absolute;left:-99rem}tr,th,td{display:block;border:0}
tr{padding:.5rem 0;border-bottom:1px solid var(--line)}td::before{content:attr(data-is) ": ";color:var(--dim)}
ol li{grid-template-columns:auto 1fr}ol li div{grid-column:1/-1}}
@media print{body{max-width:none}pre{white-space:pre-wrap}}
"""
