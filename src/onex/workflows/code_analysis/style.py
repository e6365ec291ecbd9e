"""The style and the script of the page as text, because the page is one file."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--bg:#fbfaf8;--card:#fff;--ink:#1d2126;--soft:#5b6470;--line:#e2dfd9;--accent:#2457a6;
--bug:#b3261e;--risk:#a85b00;--upkeep:#3f6b3a;--h0:#dfe7e1;--h1:#e9e3c4;--h2:#f0cf95;--h3:#e9a774;--h4:#d9755f;
--shade:#f3f1ec}
@media (prefers-color-scheme:dark){:root{--bg:#15181c;--card:#1c2025;--ink:#e4e6e8;--soft:#9aa4af;--line:#2f353c;
--accent:#8db4f2;--bug:#ff8a80;--risk:#f0b263;--upkeep:#94c48d;--h0:#28352e;--h1:#4a4527;--h2:#6d5222;--h3:#86492a;
--h4:#9a3b31;--shade:#22272d}}
*{box-sizing:border-box}
html{scroll-padding-top:4rem}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main,header{max-width:1120px;margin:0 auto;padding:0 1.5rem}
header{padding-top:2.6rem}
h1{font-size:2rem;line-height:1.2;margin:0 0 1rem;letter-spacing:-.015em;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:3rem 0 .4rem;letter-spacing:-.01em}
h3{font-size:1rem;margin:1.6rem 0 .4rem}
p{margin:.4rem 0 .9rem;max-width:46rem}
.lead p{font-size:1.08rem;margin:.25rem 0}
.lead p:first-child{font-weight:600}
.soft{color:var(--soft);font-size:.9rem}
code,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.86em;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.8rem;margin:1.6rem 0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.8rem 1rem}
.tiles b{display:block;font-size:1.55rem;line-height:1.25;font-variant-numeric:tabular-nums;letter-spacing:-.02em}
.tiles span{color:var(--soft);font-size:.85rem;display:block;line-height:1.35}
nav{position:sticky;top:0;z-index:2;background:var(--bg);border-bottom:1px solid var(--line);margin-top:1rem}
nav div{max-width:1120px;margin:0 auto;padding:.55rem 1.5rem;display:flex;gap:.3rem 1.1rem;flex-wrap:wrap;
align-items:center}
nav a{color:var(--soft);text-decoration:none;font-size:.9rem}
nav a:hover{color:var(--accent)}
nav form{margin-left:auto;display:none;gap:.9rem;align-items:center}
.js nav form{display:flex}
input[type=search]{font:inherit;font-size:.9rem;padding:.25rem .6rem;border:1px solid var(--line);border-radius:7px;
background:var(--card);color:var(--ink);width:15rem;max-width:45vw}
label{font-size:.9rem;color:var(--soft);white-space:nowrap}
.scroll{overflow:auto;max-height:34rem;border:1px solid var(--line);border-radius:10px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th{position:sticky;top:0;background:var(--shade);text-align:left;font-weight:600;white-space:nowrap;padding:0}
th span,th button{font:inherit;color:inherit;background:none;border:0;padding:.5rem .8rem;display:block;width:100%;
text-align:inherit}
th button{cursor:pointer}
th button:hover,th button:focus-visible{color:var(--accent)}
th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
td{padding:.38rem .8rem;border-top:1px solid var(--line);vertical-align:top}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td:first-child{min-width:11rem}
tbody tr:hover{background:var(--shade)}
.bar{display:inline-block;vertical-align:middle;width:100%;min-width:60px;height:.7rem;background:var(--shade);
border-radius:3px;overflow:hidden}
.bar i{display:block;float:left;height:100%;background:var(--accent)}
.bar .pale{opacity:.4}
.bar.over i{background:var(--bug)}.bar.edge i{background:var(--risk)}
.bars{display:grid;grid-template-columns:auto 1fr auto auto;gap:.35rem .9rem;align-items:center;font-size:.92rem;
background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.2rem;max-width:46rem}
.bars .n{color:var(--soft)}
details{background:var(--card);border:1px solid var(--line);border-radius:10px;margin:.5rem 0}
summary{cursor:pointer;padding:.6rem 1rem;display:grid;grid-template-columns:5rem 1fr 9rem 4.5rem;gap:1rem;
align-items:center;list-style:none}
summary::-webkit-details-marker{display:none}
summary.plain{display:block;color:var(--accent);font-size:.92rem}
details[open]>summary{border-bottom:1px solid var(--line)}
details>p,details>ul{margin:.7rem 1rem}
.tag{font-size:.75rem;font-weight:600;border:1px solid;border-radius:99px;padding:.05rem .55rem;justify-self:start}
.bug{color:var(--bug)}.risk{color:var(--risk)}.upkeep{color:var(--upkeep)}
.bar.bug i{background:var(--bug)}.bar.risk i{background:var(--risk)}.bar.upkeep i{background:var(--upkeep)}
ul.places{list-style:none;padding:0;font-size:.92rem}
ul.places li{padding:.2rem 0;border-top:1px solid var(--line)}
ul.places li:first-child{border:0}
ul.places code{margin-right:.5rem}
.map{width:100%;height:auto;display:block;border-radius:10px}
.map rect{stroke:var(--bg);stroke-width:1.5}
.map text{font:12px system-ui,sans-serif;fill:var(--ink);pointer-events:none}
.map .small{font-size:10.5px;fill:var(--soft)}
.js .tile{cursor:pointer}
.group rect{fill:var(--shade)}
.group text{font-weight:600}
.tile:hover rect{stroke:var(--ink)}
.heat0 rect{fill:var(--h0)}.heat1 rect{fill:var(--h1)}.heat2 rect{fill:var(--h2)}.heat3 rect{fill:var(--h3)}
.heat4 rect{fill:var(--h4)}
.legend{display:flex;gap:.4rem 1.1rem;flex-wrap:wrap;font-size:.85rem;color:var(--soft);margin:.5rem 0 1rem}
.legend i{display:inline-block;width:.9rem;height:.9rem;border-radius:3px;margin-right:.35rem;vertical-align:-.1rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(310px,1fr));gap:.9rem;margin:.8rem 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.8rem 1rem}
.card h3{margin:0}
.card ol{margin:.3rem 0;padding-left:1.2rem;font-size:.86rem}
.card li{overflow-wrap:anywhere}
.ring{width:100%;max-width:400px;display:block;margin:0 auto}
.ring text{font:13px system-ui,sans-serif;fill:var(--ink)}
.ring circle{fill:var(--accent)}
.ring path{fill:none;stroke-width:1.6}
.ring path.strong{stroke:var(--bug)}.ring polygon.strong{fill:var(--bug)}
.ring path.weak{stroke:var(--soft);opacity:.55}.ring polygon.weak{fill:var(--soft);opacity:.55}
.calm .test{display:none}
[hidden]{display:none!important}
footer{max-width:1120px;margin:3rem auto 2rem;padding:1rem 1.5rem;border-top:1px solid var(--line);
color:var(--soft);font-size:.88rem}
@media (max-width:640px){summary{grid-template-columns:1fr auto}summary .bar{display:none}}
@media print{nav{display:none}.scroll{max-height:none}body{background:#fff}}
"""

SCRIPT: Final = """
(function(){
'use strict';
var root=document.documentElement,search=document.getElementById('find'),calm=document.getElementById('calm');
root.classList.add('js');
var parts=Array.prototype.slice.call(document.querySelectorAll('tbody tr,ul.places li,.card'));
var texts=parts.map(function(part){return part.textContent.toLowerCase()});
function filter(){
  var words=search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  parts.forEach(function(part,n){part.hidden=!words.every(function(word){return texts[n].indexOf(word)>=0})});
}
search.addEventListener('input',filter);
search.form.addEventListener('submit',function(event){event.preventDefault()});
calm.addEventListener('change',function(){document.body.classList.toggle('calm',calm.checked)});
document.querySelectorAll('th').forEach(function(head){
  var label=head.firstElementChild,button=document.createElement('button');
  button.type='button';button.textContent=label.textContent;head.replaceChild(button,label);
  button.addEventListener('click',function(){
    var down=head.classList.contains('n'),body=head.closest('table').tBodies[0],at=head.cellIndex;
    if(head.getAttribute('aria-sort')===(down?'descending':'ascending'))down=!down;
    head.parentNode.querySelectorAll('th').forEach(function(other){other.removeAttribute('aria-sort')});
    head.setAttribute('aria-sort',down?'descending':'ascending');
    var rows=Array.prototype.slice.call(body.rows);
    rows.sort(function(a,b){
      var x=a.cells[at],y=b.cells[at],order;
      if(x.dataset.v!==undefined)order=Number(x.dataset.v)-Number(y.dataset.v);
      else order=x.textContent<y.textContent?-1:x.textContent>y.textContent?1:0;
      return down?-order:order;
    });
    rows.forEach(function(row){body.appendChild(row)});
  });
});
document.querySelectorAll('.tile').forEach(function(tile){
  tile.addEventListener('click',function(){
    search.value=search.value===tile.dataset.find?'':tile.dataset.find;filter();
  });
});
})();
"""
