from tritonlib import *
import sys
from triton.language.extra import libdevice
def f(*s, scale=1.0): return (rng.standard_normal(s)*scale).astype(np.float32)

@triton.jit
def attn_fwd(Q,K,V,O,L, sm_scale, N, H: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, CAUSAL: tl.constexpr):
    pid=tl.program_id(0); bh=tl.program_id(1)
    base=bh*N*D
    om=pid*BM+tl.arange(0,BM); od=tl.arange(0,D); on=tl.arange(0,BN)
    q=tl.load(Q+base+om[:,None]*D+od[None,:], mask=om[:,None]<N, other=0.)
    m=tl.full([BM],-float("inf"),tl.float32); l=tl.zeros([BM],tl.float32); acc=tl.zeros([BM,D],tl.float32)
    hi = (pid+1)*BM if CAUSAL else N
    for s in range(0,hi,BN):
        n=s+on
        k=tl.load(K+base+n[None,:]*D+od[:,None], mask=n[None,:]<N, other=0.)
        qk=tl.dot(q,k)*sm_scale
        qk=tl.where(n[None,:]<N,qk,-float("inf"))
        if CAUSAL: qk=tl.where(om[:,None]>=n[None,:],qk,-float("inf"))
        mn=tl.maximum(m,tl.max(qk,1))
        p=tl.math.exp2((qk-mn[:,None])*1.44269504)
        al=tl.math.exp2((m-mn)*1.44269504)
        l=l*al+tl.sum(p,1)
        v=tl.load(V+base+n[:,None]*D+od[None,:], mask=n[:,None]<N, other=0.)
        acc=acc*al[:,None]+tl.dot(p.to(v.dtype),v)
        m=mn
    tl.store(O+base+om[:,None]*D+od[None,:],(acc/l[:,None]).to(O.dtype.element_ty),mask=om[:,None]<N)
    tl.store(L+bh*N+om, m+tl.log(l), mask=om<N)

@triton.jit
def attn_bwd(Q,K,V,DO,L,DELTA,DQ,DK,DV,sm_scale,N,D: tl.constexpr,BM: tl.constexpr,BN: tl.constexpr):
    pid=tl.program_id(0); bh=tl.program_id(1); base=bh*N*D
    on=pid*BN+tl.arange(0,BN); od=tl.arange(0,D)
    k=tl.load(K+base+on[:,None]*D+od[None,:],mask=on[:,None]<N,other=0.)
    v=tl.load(V+base+on[:,None]*D+od[None,:],mask=on[:,None]<N,other=0.)
    dk=tl.zeros([BN,D],tl.float32); dv=tl.zeros([BN,D],tl.float32)
    for s in range(0,N,BM):
        om=s+tl.arange(0,BM); mm=om<N
        q=tl.load(Q+base+om[:,None]*D+od[None,:],mask=mm[:,None],other=0.)
        do=tl.load(DO+base+om[:,None]*D+od[None,:],mask=mm[:,None],other=0.)
        lse=tl.load(L+bh*N+om,mask=mm,other=0.); de=tl.load(DELTA+bh*N+om,mask=mm,other=0.)
        s_=tl.dot(q,tl.trans(k))*sm_scale
        p=tl.exp(s_-lse[:,None]); p=tl.where(mm[:,None],p,0.)
        dv+=tl.dot(tl.trans(p.to(do.dtype)),do)
        dp=tl.dot(do,tl.trans(v))
        ds=(p*(dp-de[:,None])*sm_scale).to(q.dtype)
        dk+=tl.dot(tl.trans(ds),q)
        dq=tl.dot(ds,k)
        tl.atomic_add(DQ+base+om[:,None]*D+od[None,:],dq,mask=mm[:,None])
    tl.store(DK+base+on[:,None]*D+od[None,:],dk.to(DK.dtype.element_ty),mask=on[:,None]<N)
    tl.store(DV+base+on[:,None]*D+od[None,:],dv.to(DV.dtype.element_ty),mask=on[:,None]<N)

def attn():
    for nm,dt,cap,D,N,causal,nw in [("f16",np.float16,80,64,96,True,4),("bf16_d32",bf16,86,32,80,False,4),("f16_h",np.float16,90,64,128,True,4),("f32",np.float32,80,32,64,False,4),("bf16_nw8",bf16,80,64,128,True,8)]:
        BH=1
        q,k,v=[f(BH,N,D).astype(dt) for _ in range(3)]
        sc=D**-.5
        Q,K,V=[a.astype(np.float64) for a in (q,k,v)]
        s=Q@K.transpose(0,2,1)*sc
        if causal: s=np.where(np.tril(np.ones((N,N)))>0,s,-np.inf)
        mx=s.max(-1,keepdims=True); e=np.exp(s-mx); l=e.sum(-1,keepdims=True)
        o=e/l@V
        if causal and N%64: continue
        tcase("tri_attn_"+nm,attn_fwd,dict(Q=Buf("Q",q),K=Buf("K",k),V=Buf("V",v),O=Buf("O",np.zeros_like(q),o,1e-2 if dt!=np.float32 else 3e-3),L=Buf("L",np.zeros((BH,N),np.float32),(mx+np.log(l))[...,0],2e-3),sm_scale=("f32",sc),N=("s32",N)),
          dict(H=1,D=D,BM=64,BN=32,CAUSAL=causal),[-(-N//64),BH],cap=cap,num_warps=nw)
def attnb():
    for nm,dt,cap in [("f16",np.float16,80),("bf16_h",bf16,90)]:
        BH,N,D=1,96,32
        q,k,v,do=[f(BH,N,D).astype(dt) for _ in range(4)]; sc=D**-.5
        Q,K,V,DO=[a.astype(np.float64) for a in (q,k,v,do)]
        s=Q@K.transpose(0,2,1)*sc; mx=s.max(-1,keepdims=True); e=np.exp(s-mx); l=e.sum(-1,keepdims=True); P=e/l; O=P@V
        lse=(mx+np.log(l))[...,0].astype(np.float32); de=(DO*O).sum(-1).astype(np.float32)
        dv=P.transpose(0,2,1)@DO; dp=DO@V.transpose(0,2,1); ds=P*(dp-de[...,None])*sc; dq=ds@K; dk=ds.transpose(0,2,1)@Q
        tcase("tri_attnbwd_"+nm,attn_bwd,dict(Q=Buf("Q",q),K=Buf("K",k),V=Buf("V",v),DO=Buf("DO",do),L=Buf("L",lse),DELTA=Buf("DELTA",de),DQ=Buf("DQ",np.zeros((BH,N,D),np.float32),dq,2e-2),DK=Buf("DK",np.zeros_like(k),dk,2e-2),DV=Buf("DV",np.zeros_like(k),dv,2e-2),sm_scale=("f32",sc),N=("s32",N)),
           dict(D=D,BM=32,BN=32),[3,BH],cap=cap)

@triton.jit
def matmul(A,B,C,M,N,K,sam,sbk,scm,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr,PREC: tl.constexpr,ACT: tl.constexpr):
    pid=tl.program_id(0); np_=tl.cdiv(N,BN)
    pm=pid//np_; pn=pid%np_
    om=pm*BM+tl.arange(0,BM); on=pn*BN+tl.arange(0,BN); ok=tl.arange(0,BK)
    a=A+om[:,None]*sam+ok[None,:]; b=B+ok[:,None]*sbk+on[None,:]
    acc=tl.zeros([BM,BN],tl.int32 if A.dtype.element_ty==tl.int8 else (tl.float64 if A.dtype.element_ty==tl.float64 else tl.float32))
    for k in range(0,tl.cdiv(K,BK)):
        x=tl.load(a,mask=(om[:,None]<M)&(ok[None,:]<K-k*BK),other=0)
        y=tl.load(b,mask=(ok[:,None]<K-k*BK)&(on[None,:]<N),other=0)
        if PREC=="":
            acc=tl.dot(x,y,acc,out_dtype=acc.dtype)
        else:
            acc=tl.dot(x,y,acc,input_precision=PREC)
        a+=BK; b+=BK*sbk
    if ACT: acc=acc*tl.sigmoid(acc)
    tl.store(C+om[:,None]*scm+on[None,:],acc.to(C.dtype.element_ty),mask=(om[:,None]<M)&(on[None,:]<N))
def mm():
    M,N,K=72,80,96
    for nm,dt,od,prec,cap,st,nw,tol in [("f16",np.float16,np.float16,"",80,3,4,1e-3),("f16_86",np.float16,np.float32,"",86,4,4,1e-5),("bf16_90",bf16,bf16,"",90,3,4,8e-3),("tf32",np.float32,np.float32,"tf32",80,2,4,2e-3),("tf32_90",np.float32,np.float32,"tf32",90,3,4,2e-3),("ieee",np.float32,np.float32,"ieee",80,2,4,1e-5),("tf32x3",np.float32,np.float32,"tf32x3",80,2,4,1e-5),("bf16x3",np.float32,np.float32,"bf16x3",90,2,4,1e-4),("s8",np.int8,np.int32,"",80,3,4,0),("s8_90",np.int8,np.int32,"",90,3,4,0),("f64",np.float64,np.float64,"",80,2,4,1e-12),("f16_89",np.float16,np.float16,"",89,3,8,1e-3),("f64_90",np.float64,np.float64,"",90,2,4,1e-12)]:
        if dt==np.int8: a=rng.integers(-128,128,(M,K)).astype(dt); b=rng.integers(-128,128,(K,N)).astype(dt)
        else: a=f(M,K).astype(dt); b=f(K,N).astype(dt)
        c=a.astype(np.float64)@b.astype(np.float64)
        try:
          tcase("tri_mm_"+nm,matmul,dict(A=Buf("A",a),B=Buf("B",b),C=Buf("C",np.zeros((M,N),od),c,tol),M=("s32",M),N=("s32",N),K=("s32",K),sam=("s32",K),sbk=("s32",N),scm=("s32",N)),
           dict(BM=64,BN=64 if nw==4 else 64,BK=32,PREC=prec,ACT=False),[4],cap=cap,num_stages=st,num_warps=nw)
        except Exception as e: print("FAIL compile",nm,repr(e)[:300])
    # silu epilogue, big tile wgmma
    M,N,K=128,128,128
    a=f(M,K,scale=.3).astype(np.float16); b=f(K,N,scale=.3).astype(np.float16); c=a.astype(np.float64)@b.astype(np.float64); c=c/(1+np.exp(-c))
    for cap in (80,90):
        tcase("tri_mmsilu_%d"%cap,matmul,dict(A=Buf("A",a),B=Buf("B",b),C=Buf("C",np.zeros((M,N),np.float16),c,1e-3),M=("s32",M),N=("s32",N),K=("s32",K),sam=("s32",K),sbk=("s32",N),scm=("s32",N)),dict(BM=128,BN=128,BK=64,PREC="",ACT=True),[1],cap=cap,num_stages=3,num_warps=8)

@triton.jit
def ln_bwd(DX,DY,W,X,MEAN,RSTD,DW,DB,LOCK,stride,N,G: tl.constexpr,BLOCK: tl.constexpr):
    row=tl.program_id(0); c=tl.arange(0,BLOCK); m=c<N
    x=tl.load(X+row*stride+c,mask=m,other=0).to(tl.float32); dy=tl.load(DY+row*stride+c,mask=m,other=0).to(tl.float32); w=tl.load(W+c,mask=m).to(tl.float32)
    mean=tl.load(MEAN+row); rstd=tl.load(RSTD+row)
    xh=(x-mean)*rstd; wdy=w*dy
    xh=tl.where(m,xh,0.); wdy=tl.where(m,wdy,0.)
    c1=tl.sum(xh*wdy,0)/N; c2=tl.sum(wdy,0)/N
    tl.store(DX+row*stride+c,((wdy-(xh*c1+c2))*rstd).to(DX.dtype.element_ty),mask=m)
    pdw=(dy*xh); pdb=dy
    lid=row%G; L=LOCK+lid; CNT=L+G
    dw=DW+lid*N+c; db=DB+lid*N+c
    while tl.atomic_cas(L,0,1)==1: pass
    n=tl.load(CNT)
    if n==0: tl.atomic_xchg(CNT,1)
    else:
        pdw+=tl.load(dw,mask=m); pdb+=tl.load(db,mask=m)
    tl.store(dw,pdw,mask=m); tl.store(db,pdb,mask=m)
    tl.debug_barrier()
    tl.atomic_xchg(L,0)
def lnb():
    R,N,G=6,200,2
    for cap,dt in ((80,np.float16),(90,bf16)):
        x=f(R,N).astype(dt); dy=f(R,N).astype(dt); w=f(N).astype(dt)
        X,DY,W=[a.astype(np.float64) for a in (x,dy,w)]
        mu=X.mean(1); rs=1/np.sqrt(X.var(1)+1e-5)
        xh=(X-mu[:,None])*rs[:,None]; wd=W*DY; c1=(xh*wd).mean(1,keepdims=True); c2=wd.mean(1,keepdims=True)
        dx=(wd-(xh*c1+c2))*rs[:,None]
        dw=np.stack([(DY*xh)[g::G].sum(0) for g in range(G)]); db=np.stack([DY[g::G].sum(0) for g in range(G)])
        tcase("tri_lnbwd_%d"%cap,ln_bwd,dict(DX=Buf("DX",np.zeros_like(x),dx,1e-2),DY=Buf("DY",dy),W=Buf("W",w),X=Buf("X",x),MEAN=Buf("MEAN",mu.astype(np.float32)),RSTD=Buf("RSTD",rs.astype(np.float32)),DW=Buf("DW",np.zeros((G,N),np.float32),dw,1e-4),DB=Buf("DB",np.zeros((G,N),np.float32),db,1e-4),LOCK=Buf("LOCK",np.zeros(2*G,np.int32)),stride=("s32",N),N=("s32",N)),dict(G=G,BLOCK=256),[R],cap=cap)

@triton.jit
def xent(X,T,LOSS,DX,V,IGN,SM: tl.constexpr,BLOCK: tl.constexpr):
    r=tl.program_id(0).to(tl.int64); t=tl.load(T+r)
    m=-float("inf"); d=0.0; sm=0.0
    for i in range(0,V,BLOCK):
        o=i+tl.arange(0,BLOCK); x=tl.load(X+r*V+o,mask=o<V,other=-float("inf")).to(tl.float32)
        mn=tl.maximum(m,tl.max(x)); d=d*tl.exp(m-mn)+tl.sum(tl.exp(x-mn)); m=mn
        sm+=tl.sum(tl.where(o<V,x,0.))
    lse=m+tl.log(d)
    if t==IGN:
        tl.store(LOSS+r,0.)
        for i in range(0,V,BLOCK):
            o=i+tl.arange(0,BLOCK); tl.store(DX+r*V+o,0.,mask=o<V)
        return
    xt=tl.load(X+r*V+t).to(tl.float32)
    tl.store(LOSS+r,(1-SM)*(lse-xt)+SM*(lse-sm/V))
    for i in range(0,V,BLOCK):
        o=i+tl.arange(0,BLOCK); x=tl.load(X+r*V+o,mask=o<V,other=-float("inf")).to(tl.float32)
        p=tl.exp(x-lse)-SM/V-tl.where(o==t,1-SM,0.)
        tl.store(DX+r*V+o,p,mask=o<V)
def xe():
    R,V=7,1000
    x=f(R,V,scale=2); t=rng.integers(0,V,R).astype(np.int64); t[2]=-100
    X=x.astype(np.float64); lse=np.log(np.exp(X).sum(1)); SM=.1
    loss=(1-SM)*(lse-X[np.arange(R),np.maximum(t,0)])+SM*(lse-X.mean(1)); p=np.exp(X-lse[:,None])-SM/V; p[np.arange(R),np.maximum(t,0)]-=1-SM
    loss[2]=0; p[2]=0
    tcase("tri_xent",xent,dict(X=Buf("X",x),T=Buf("T",t),LOSS=Buf("LOSS",np.zeros(R,np.float32),loss,1e-5),DX=Buf("DX",np.zeros((R,V),np.float32),p,1e-5),V=("s32",V),IGN=("s32",-100)),dict(SM=SM,BLOCK=256),[R])

@triton.jit
def dropout(X,Y,n,p,seed,BLOCK: tl.constexpr):
    o=tl.program_id(0)*BLOCK+tl.arange(0,BLOCK); m=o<n
    r=tl.rand(seed,o); x=tl.load(X+o,mask=m)
    tl.store(Y+o,tl.where(r>p,x/(1-p),0.),mask=m)
@triton.jit
def rand4(Y,Z,n,seed,BLOCK: tl.constexpr):
    o=tl.program_id(0)*BLOCK+tl.arange(0,BLOCK)
    a,b,c,d=tl.randint4x(seed,o)
    tl.store(Y+4*o,a); tl.store(Y+4*o+1,b);tl.store(Y+4*o+2,c);tl.store(Y+4*o+3,d)
    tl.store(Z+o,tl.randn(seed,o))
def philox(seed,off):
    c=[np.asarray(off,dtype=np.uint32),*[np.zeros_like(np.asarray(off,dtype=np.uint32)) for _ in range(3)]]
    k0=np.uint32(seed&0xffffffff); k1=np.uint32(seed>>32)
    for i in range(10):
        A=np.uint64(0xD2511F53);B=np.uint64(0xCD9E8D57)
        p0=A*c[0].astype(np.uint64); p1=B*c[2].astype(np.uint64)
        h0,l0=(p0>>np.uint64(32)).astype(np.uint32),p0.astype(np.uint32); h1,l1=(p1>>np.uint64(32)).astype(np.uint32),p1.astype(np.uint32)
        c=[h1^c[1]^k0,l1,h0^c[3]^k1,l0]
        k0=np.uint32((int(k0)+0x9E3779B9)&0xffffffff);k1=np.uint32((int(k1)+0xBB67AE85)&0xffffffff)
    return c
def u2f(u):
    x=u.astype(np.int32); x=np.where(x<0,-x-1,x); return (x.astype(np.float32)*np.float32(4.6566127342e-10))
def dr():
    n=1000; x=f(n); seed=123456
    c=philox(seed,np.arange(n)); r=u2f(c[0]); y=np.where(r>.3,x/np.float32(.7),0)
    tcase("tri_dropout",dropout,dict(X=Buf("X",x),Y=Buf("Y",np.zeros_like(x),y,1e-6),n=("s32",n),p=("f32",.3),seed=("s32",seed)),dict(BLOCK=256),[4])
    n=256; c=philox(seed,np.arange(n)); u1=np.maximum(1e-7,u2f(c[0])).astype(np.float64); u2=u2f(c[1]).astype(np.float64)
    z=np.sqrt(-2*np.log(u1))*np.cos(6.283185307179586*u2)
    tcase("tri_rand4",rand4,dict(Y=Buf("Y",np.zeros((n,4),np.int32),np.stack(c,1).view(np.int32).astype(np.int64).astype(np.int32),0),Z=Buf("Z",np.zeros(n,np.float32),z,1e-5),n=("s32",n),seed=("s32",seed)),dict(BLOCK=256),[1])

@triton.jit
def add2(a,b): return a+b
@triton.jit
def lin(a1,b1,a2,b2): return a1*a2,b1*a2+b2
@triton.jit
def scans(X,A,Y,Z,ARG,CP,n: tl.constexpr,R: tl.constexpr):
    r=tl.arange(0,R)[:,None]; c=tl.arange(0,n)[None,:]; o=r*n+c
    x=tl.load(X+o); a=tl.load(A+o)
    tl.store(Y+o,tl.cumsum(x,1))
    aa,bb=tl.associative_scan((a,x),1,lin)
    tl.store(Z+o,bb)
    tl.store(CP+o,tl.cumprod(a,0,reverse=True))
    v,i=tl.max(x,1,return_indices=True)
    tl.store(ARG+tl.arange(0,R),i)
def sc():
    R,n=8,128
    x=f(R,n); a=(rng.random((R,n))*.5+.6).astype(np.float32)
    z=np.zeros((R,n)); s=np.zeros(R)
    for i in range(n): s=a[:,i].astype(np.float64)*s+x[:,i]; z[:,i]=s
    cp=np.cumprod(a[::-1].astype(np.float64),0)[::-1]
    for nw,cap in ((4,80),(1,80),(8,90)):
        tcase("tri_scan_w%d"%nw,scans,dict(X=Buf("X",x),A=Buf("A",a),Y=Buf("Y",np.zeros_like(x),np.cumsum(x.astype(np.float64),1),1e-5),Z=Buf("Z",np.zeros_like(x),z,1e-5),ARG=Buf("ARG",np.zeros(R,np.int32),x.argmax(1),0),CP=Buf("CP",np.zeros_like(x),cp,1e-5)),dict(n=n,R=R),[1],num_warps=nw,cap=cap)

@triton.jit
def sorter(X,Y,T,n: tl.constexpr,R: tl.constexpr,K: tl.constexpr):
    o=tl.arange(0,R)[:,None]*n+tl.arange(0,n)[None,:]
    x=tl.load(X+o); tl.store(Y+o,tl.sort(x,descending=True))
    tl.store(T+tl.arange(0,R)[:,None]*K+tl.arange(0,K)[None,:],tl.topk(x,K))
def so():
    R,n,K=4,64,8
    for dt,nw in ((np.float32,4),(np.int32,2),(np.int16,4),(np.float16,4),(np.int64,4)):
        x=(f(R,n)*100).astype(dt); y=-np.sort(-x.astype(np.float64),1)
        try: tcase("tri_sort_%s"%DT[np.dtype(dt)],sorter,dict(X=Buf("X",x),Y=Buf("Y",np.zeros_like(x),y,0),T=Buf("T",np.zeros((R,K),dt),y[:,:K],0)),dict(n=n,R=R,K=K),[1],num_warps=nw)
        except Exception as e: print("FAIL compile sort",dt,repr(e)[:300])

@triton.jit
def atoms(X,IDX,ADDF,ADDH,ADDB,ADDD,MAXI,MINU,MAXF,OR,XCH,n,BLOCK: tl.constexpr):
    o=tl.program_id(0)*BLOCK+tl.arange(0,BLOCK); m=o<n
    x=tl.load(X+o,mask=m,other=0.); i=tl.load(IDX+o,mask=m,other=0)
    tl.atomic_add(ADDF+i,x,mask=m); tl.atomic_add(ADDH+i,x.to(tl.float16),mask=m,sem="relaxed")
    tl.atomic_add(ADDD+i,x.to(tl.float64),mask=m)
    tl.atomic_add(ADDB+i,x.to(tl.bfloat16),mask=m)
    q=(x*16).to(tl.int32)
    tl.atomic_max(MAXI+i,q,mask=m); tl.atomic_min(MINU+i,q.to(tl.uint32,bitcast=True),mask=m); tl.atomic_max(MAXF+i,x,mask=m)
    tl.atomic_or(OR+i,1<<(i%31),mask=m); tl.atomic_xchg(XCH+o,q,mask=m)
def at():
    n,b=500,37
    x=(rng.integers(-32,32,n)/16).astype(np.float32); idx=rng.integers(0,b,n).astype(np.int32)
    s=np.zeros(b); np.add.at(s,idx,x.astype(np.float64)); q=(x*16).astype(np.int32)
    mx=np.full(b,-2**31,np.int32); np.maximum.at(mx,idx,q); mn=np.full(b,2**32-1,np.uint32); np.minimum.at(mn,idx,q.view(np.uint32)); mf=np.full(b,-1e30,np.float32); np.maximum.at(mf,idx,x)
    orr=np.zeros(b,np.int32); np.bitwise_or.at(orr,idx,(1<<(idx%31)).astype(np.int32))
    for cap in (80,90):
        tcase("tri_atomics_%d"%cap,atoms,dict(X=Buf("X",x),IDX=Buf("IDX",idx),ADDF=Buf("ADDF",np.zeros(b,np.float32),s,1e-6),ADDH=Buf("ADDH",np.zeros(b,np.float16),s,2e-3),ADDB=Buf("ADDB",np.zeros(b,bf16),s,2e-2),ADDD=Buf("ADDD",np.zeros(b),s,1e-12),MAXI=Buf("MAXI",np.full(b,-2**31,np.int32),mx,0),MINU=Buf("MINU",np.full(b,2**32-1,np.uint32),mn,0),MAXF=Buf("MAXF",np.full(b,-1e30,np.float32),mf,0),OR=Buf("OR",np.zeros(b,np.int32),orr,0),XCH=Buf("XCH",np.zeros(n,np.int32),q,0),n=("s32",n)),dict(BLOCK=256),[2],cap=cap)

@triton.jit
def libm(X,Y,n,BLOCK: tl.constexpr):
    o=tl.arange(0,BLOCK); x=tl.load(X+o)
    i=0
    ax=tl.abs(x)+0.1
    tl.store(Y+0*n+o,tl.exp(x)); tl.store(Y+1*n+o,tl.log(ax)); tl.store(Y+2*n+o,tl.sin(x*10)); tl.store(Y+3*n+o,tl.cos(x*10))
    tl.store(Y+4*n+o,tl.sqrt(ax)); tl.store(Y+5*n+o,tl.rsqrt(ax)); tl.store(Y+6*n+o,tl.erf(x)); tl.store(Y+7*n+o,tl.floor(x*3)); tl.store(Y+8*n+o,tl.ceil(x*3))
    tl.store(Y+9*n+o,libdevice.tanh(x)); tl.store(Y+10*n+o,libdevice.pow(ax,x)); tl.store(Y+11*n+o,libdevice.atan2(x,ax)); tl.store(Y+12*n+o,libdevice.lgamma(ax)); tl.store(Y+13*n+o,libdevice.expm1(x)); tl.store(Y+14*n+o,libdevice.log1p(ax)); tl.store(Y+15*n+o,libdevice.asin(x*.3)); tl.store(Y+16*n+o,libdevice.cbrt(x)); tl.store(Y+17*n+o,libdevice.round(x*5)); tl.store(Y+18*n+o,libdevice.fmod(x*7,ax)); tl.store(Y+19*n+o,libdevice.erfinv(x*.2)); tl.store(Y+20*n+o,tl.sqrt_rn(ax)); tl.store(Y+21*n+o,tl.div_rn(x,ax)); tl.store(Y+22*n+o,tl.fma(x,ax,x)); tl.store(Y+23*n+o,libdevice.rint(x*5)); tl.store(Y+24*n+o,libdevice.hypot(x,ax)); tl.store(Y+25*n+o,tl.exp2(x)); tl.store(Y+26*n+o,tl.log2(ax)); tl.store(Y+27*n+o,libdevice.sinh(x))
def lm():
    import math
    n=256; 
    from math import erf,lgamma
    for dt,tol in ((np.float32,3e-6),(np.float64,1e-13)):
        x=(rng.standard_normal(n)).astype(dt); X=x.astype(np.float64); ax=(np.abs(x)+dt(0.1)).astype(np.float64)
        import statistics
        erfinv=np.array([statistics.NormalDist().inv_cdf((v+1)/2)/math.sqrt(2) for v in np.clip(X*.2,-.999,.999)])
        ys=[np.exp(X),np.log(ax),np.sin((x*dt(10)).astype(np.float64)),np.cos((x*dt(10)).astype(np.float64)),np.sqrt(ax),1/np.sqrt(ax),np.vectorize(erf)(X),np.floor(x*dt(3)),np.ceil(x*dt(3)),np.tanh(X),ax**X,np.arctan2(X,ax),np.vectorize(lgamma)(ax),np.expm1(X),np.log1p(ax),np.arcsin(np.clip(x*dt(.3),-1,1).astype(np.float64)),np.cbrt(X),np.sign(x)*np.floor(np.abs(x*dt(5)).astype(np.float64)+.5),np.fmod((x*dt(7)).astype(np.float64),ax),erfinv,np.sqrt(ax),X/ax,X*ax+X,np.rint(x*dt(5)),np.hypot(X,ax),2**X,np.log2(ax),np.sinh(X)]
        
        for cap in (80,90):
            tcase("tri_libm_%s_%d"%(DT[np.dtype(dt)],cap),libm,dict(X=Buf("X",x),Y=Buf("Y",np.zeros((len(ys),n),dt),np.stack(ys),tol),n=("s32",n)),dict(BLOCK=n),[1],cap=cap)
ALL=dict(attn=attn,attnb=attnb,mm=mm,lnb=lnb,xe=xe,dr=dr,sc=sc,so=so,at=at,lm=lm)
for k in (sys.argv[1:] or ALL):
    try: ALL[k]()
    except BaseException as e:
        import traceback; traceback.print_exc(limit=3); print("FAILED",k,repr(e)[:500])
