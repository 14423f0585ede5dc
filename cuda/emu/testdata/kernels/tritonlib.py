from lib import *
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
def tcompile(fn, sig, consts, cap=80, num_warps=4, num_stages=3, **kw):
    src = triton.compiler.ASTSource(fn=fn, signature={k:(sig[k] if k in sig else "constexpr") for k in fn.arg_names}, constexprs={k:v for k,v in consts.items()}, attrs=kw.pop("attrs", {}))
    k = triton.compile(src, target=GPUTarget("cuda", cap, 32), options=dict(num_warps=num_warps, num_stages=num_stages, **kw))
    return k
def strip(ptx):
    import re
    out=[]
    skip=False
    for l in ptx.splitlines():
        if l.strip().startswith(".section"): break
        if re.match(r"\s*\.(loc|file)\b", l): continue
        if re.match(r"^\$L__(tmp|func|pc)\w*:", l): continue
        if re.match(r"^\s*\$L__tmp\d+:", l): continue
        out.append(l)
    return "\n".join(out)+"\n"
def tcase(name, fn, args, consts, grid, cap=80, num_warps=4, num_stages=3, note="", scratch=0, **kw):
    """args: ordered dict name-> Buf or (kind,val)"""
    TT={"f32":"fp32","f64":"fp64","f16":"fp16","bf16":"bf16","s8":"i8","u8":"u8","s16":"i16","u16":"u16","s32":"i32","u32":"u32","s64":"i64","u64":"u64"}
    sig={}; params=[]; attrs={}
    for i,k in enumerate(fn.arg_names):
        if k not in args: continue
        v=args[k]
        if isinstance(v,Buf):
            sig[k]="*"+kw.get("fp8",{}).get(k,TT[DT[v.inp.dtype]]); attrs[(i,)]=[["tt.divisibility",16]]
        else:
            sig[k]=TT[v[0]]
            if v[0][1:] in("32","64") and v[0][0] in "su" and v[1]%16==0: attrs[(i,)]=[["tt.divisibility",16]]
        params.append(v)
    kw2={k:v for k,v in kw.items() if k!="fp8"}
    k=tcompile(fn,sig,consts,cap,num_warps,num_stages,attrs=attrs,**kw2)
    ptx=strip(k.asm["ptx"])
    m=k.metadata
    import re
    ent=ptx[ptx.index(".entry"):]; ent=ent[:ent.index(")")]
    n=ent.count(".param")
    extra=n-len(params)
    gs=getattr(m,"global_scratch_size",0)
    nblocks=1
    for g in grid: nblocks*=g
    for j in range(extra):
        if j==0 and gs: params.append(Buf("scratch",np.zeros(gs*nblocks,np.uint8)))
        else: params.append(("u64",0))
    req=re.search(r"\.reqntid (\d+)",ptx)
    block=int(req.group(1)) if req else 32*num_warps
    case(name,ptx,grid,[block],params,shared=m.shared,note=note)
