from tritonlib import *
import sys
from triton.language.extra import libdevice
def f(*s, scale=1.0): return (rng.standard_normal(s)*scale).astype(np.float32)
D=lambda v:v.astype(np.float64)
@triton.jit
def cvmm(X,W,SEL,IDX,OUT,M,N,K,nrows,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr):
    # grouped matmul: rows sorted by expert; each tile loops over experts present
    pm=tl.program_id(0); pn=tl.program_id(1)
    sel=tl.load(SEL+pm*BM+tl.arange(0,BM),mask=pm*BM+tl.arange(0,BM)<nrows,other=-1)
    idx=tl.load(IDX+pm*BM+tl.arange(0,BM),mask=pm*BM+tl.arange(0,BM)<nrows,other=0)
    first=tl.load(SEL+pm*BM); last=tl.load(SEL+tl.minimum(pm*BM+BM,nrows)-1)
    on=pn*BN+tl.arange(0,BN); ok=tl.arange(0,BK)
    for e in range(first,last+1):
        m=sel==e
        acc=tl.zeros([BM,BN],tl.float32)
        for k in range(0,K,BK):
            x=tl.load(X+idx[:,None]*K+k+ok[None,:],mask=m[:,None],other=0.)
            w=tl.load(W+e*K*N+(k+ok)[:,None]*N+on[None,:],mask=on[None,:]<N,other=0.)
            acc+=tl.dot(x,w)
        tl.store(OUT+idx[:,None]*N+on[None,:],acc.to(OUT.dtype.element_ty),mask=m[:,None]&(on[None,:]<N))
def cv():
    M,N,K,E=70,48,64,5
    for cap,dt in ((80,np.float16),(86,bf16)):
        x=f(M,K).astype(dt); w=f(E,K,N,scale=.2).astype(dt); e=rng.integers(0,E,M); idx=np.argsort(e,kind="stable").astype(np.int32); sel=e[idx].astype(np.int32)
        o=np.stack([D(x)[i]@D(w)[e[i]] for i in range(M)])
        tcase("tri_cvmm_%d"%cap,cvmm,dict(X=Buf("X",x),W=Buf("W",w),SEL=Buf("SEL",sel),IDX=Buf("IDX",idx),OUT=Buf("OUT",np.zeros((M,N),dt),o,1e-2),M=("s32",M),N=("s32",N),K=("s32",K),nrows=("s32",M)),dict(BM=32,BN=32,BK=32),[-(-M//32),-(-N//32)],cap=cap)
@triton.jit
def moe_align(TOPK,SORTED,EXP,TOTAL,CNT,numel,E: tl.constexpr,BS: tl.constexpr,P2: tl.constexpr):
    o=tl.arange(0,P2); t=tl.load(TOPK+o,mask=o<numel,other=E)
    h=tl.histogram(t,E,mask=o<numel)
    pad=(h+BS-1)//BS*BS
    cs=tl.cumsum(pad,0); start=cs-pad
    tl.store(CNT+tl.arange(0,E),start)
    tl.store(TOTAL,tl.sum(pad,0))
    for i in range(0,numel):
        e=tl.load(TOPK+i)
        tl.debug_barrier()
        p=tl.atomic_add(CNT+e,1)
        tl.store(SORTED+p,i)
    ee=tl.arange(0,E)
    for b in range(0,tl.sum(pad,0)//BS):
        tl.store(EXP+b,tl.sum(tl.where(b*BS>=cs,1,0),0))
def ma():
    n,E,BS=100,8,16; t=rng.integers(0,E,n).astype(np.int32); h=np.bincount(t,minlength=E); pad=(h+BS-1)//BS*BS; cs=np.cumsum(pad); st=cs-pad
    S=np.full(256,n,np.int32); S0=S.copy(); c=st.copy()
    for i in range(n): S[c[t[i]]]=i; c[t[i]]+=1
    ex=np.full(32,-1,np.int32); ex0=ex.copy()
    for b in range(pad.sum()//BS): ex[b]=(b*BS>=cs).sum()
    tcase("tri_moe_align",moe_align,dict(TOPK=Buf("TOPK",t),SORTED=Buf("SORTED",S0,S),EXP=Buf("EXP",ex0,ex),TOTAL=Buf("TOTAL",np.zeros(1,np.int32),[pad.sum()]),CNT=Buf("CNT",np.zeros(E,np.int32),c),numel=("s32",n)),dict(E=E,BS=BS,P2=128),[1])
@triton.jit
def w4(X,Q,S,Z,OUT,M,N,K,G: tl.constexpr,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr):
    pm=tl.program_id(0); pn=tl.program_id(1); om=pm*BM+tl.arange(0,BM); on=pn*BN+tl.arange(0,BN); ok=tl.arange(0,BK)
    acc=tl.zeros([BM,BN],tl.float32)
    for k in range(0,K,BK):
        kk=k+ok
        x=tl.load(X+om[:,None]*K+kk[None,:],mask=om[:,None]<M,other=0.)
        q=tl.load(Q+(kk//8)[:,None]*N+on[None,:])
        sh=(kk%8)*4
        w=(q>>sh[:,None])&15
        s=tl.load(S+(kk//G)[:,None]*N+on[None,:]); z=tl.load(Z+(kk//G)[:,None]*N+on[None,:])
        w=((w-z)*s).to(tl.float16)
        acc+=tl.dot(x,w)
    tl.store(OUT+om[:,None]*N+on[None,:],acc,mask=om[:,None]<M)
def q4():
    M,N,K,G=20,64,64,32
    x=f(M,K).astype(np.float16); w=rng.integers(0,16,(K,N)); q=np.zeros((K//8,N),np.int64)
    for k in range(K): q[k//8]|=w[k]<<(4*(k%8))
    q=q.astype(np.uint32).view(np.int32); s=(rng.random((K//G,N))*.1+.01).astype(np.float16); z=rng.integers(4,12,(K//G,N)).astype(np.int32)
    wd=((w-np.repeat(z,G,0)).astype(np.float16)*np.repeat(s,G,0)).astype(np.float16)
    for cap in (80,90):
        tcase("tri_w4a16_%d"%cap,w4,dict(X=Buf("X",x),Q=Buf("Q",q),S=Buf("S",s),Z=Buf("Z",z),OUT=Buf("OUT",np.zeros((M,N),np.float32),D(x)@D(wd),2e-3),M=("s32",M),N=("s32",N),K=("s32",K)),dict(G=G,BM=32,BN=32,BK=32),[1,2],cap=cap)
@triton.jit
def rope(X,COS,SIN,Y,H,DH: tl.constexpr):
    t=tl.program_id(0); h=tl.program_id(1); o=tl.arange(0,DH//2); b=(t*H+h)*DH
    a=tl.load(X+b+o).to(tl.float32); c=tl.load(X+b+DH//2+o).to(tl.float32); co=tl.load(COS+t*(DH//2)+o); si=tl.load(SIN+t*(DH//2)+o)
    tl.store(Y+b+o,(a*co-c*si).to(Y.dtype.element_ty)); tl.store(Y+b+DH//2+o,(a*si+c*co).to(Y.dtype.element_ty))
@triton.jit
def rope_il(X,F,Y,n: tl.constexpr,D: tl.constexpr):
    t=tl.program_id(0); x=tl.load(X+t*D+tl.arange(0,D)); a,b=tl.split(x.reshape(D//2,2)); fr=tl.load(F+tl.arange(0,D//2))*t
    c=tl.cos(fr); s=tl.sin(fr)
    tl.store(Y+t*D+tl.arange(0,D),tl.interleave(a*c-b*s,a*s+b*c))
def ro():
    T,H,DH=6,2,64; x=f(T,H,DH).astype(bf16); th=np.outer(np.arange(T),10000.0**(-np.arange(32)/32)); X=D(x); a,c=X[...,:32],X[...,32:]; co,si=np.cos(th)[:,None],np.sin(th)[:,None]
    y=np.concatenate([a*co-c*si,a*si+c*co],-1)
    tcase("tri_rope",rope,dict(X=Buf("X",x),COS=Buf("COS",np.cos(th).astype(np.float32)),SIN=Buf("SIN",np.sin(th).astype(np.float32)),Y=Buf("Y",np.zeros_like(x),y,1e-2),H=("s32",H)),dict(DH=DH),[T,H],num_warps=1)
    x=f(T,64); fr=(10000.0**(-np.arange(32)/32)).astype(np.float32); th=D(fr)[None]*np.arange(T)[:,None]; a,b=D(x)[:,::2],D(x)[:,1::2]; y=np.zeros((T,64)); y[:,::2]=a*np.cos(th)-b*np.sin(th); y[:,1::2]=a*np.sin(th)+b*np.cos(th)
    tcase("tri_rope_il",rope_il,dict(X=Buf("X",x),F=Buf("F",fr),Y=Buf("Y",np.zeros_like(x),y,1e-5)),dict(n=T,D=64),[T],num_warps=1)
@triton.jit
def embbag(T,I,OFF,O,D: tl.constexpr):
    b=tl.program_id(0); s=tl.load(OFF+b); e=tl.load(OFF+b+1); o=tl.arange(0,D); acc=tl.zeros([D],tl.float32); i=s
    while i<e:
        r=tl.load(I+i); acc+=tl.load(T+r*D+o,eviction_policy="evict_last").to(tl.float32); i+=1
    n=tl.maximum(e-s,1)
    tl.store(O+b*D+o,acc/n,cache_modifier=".cs")
def eb():
    V,Dm,B=50,64,6; t=f(V,Dm).astype(np.float16); off=np.array([0,3,3,10,11,20,24],np.int32); idx=rng.integers(0,V,24).astype(np.int64)
    o=np.stack([D(t)[idx[off[b]:off[b+1]]].sum(0)/max(1,off[b+1]-off[b]) for b in range(B)])
    tcase("tri_embbag",embbag,dict(T=Buf("T",t),I=Buf("I",idx),OFF=Buf("OFF",off),O=Buf("O",np.zeros((B,Dm),np.float32),o,1e-6)),dict(D=Dm),[B],num_warps=2)
@triton.jit
def conv2d(X,W,Y,N,C,H,WD,OC,P,Q,R: tl.constexpr,S: tl.constexpr,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr):
    pm=tl.program_id(0); pn=tl.program_id(1); om=pm*BM+tl.arange(0,BM); on=pn*BN+tl.arange(0,BN)
    n=om//(P*Q); p=om//Q%P; q=om%Q; KK=C*R*S; acc=tl.zeros([BM,BN],tl.float32)
    for k in range(0,KK,BK):
        kk=k+tl.arange(0,BK); c=kk//(R*S); r=kk//S%R; s=kk%S; h=p[:,None]+r[None,:]-1; w=q[:,None]+s[None,:]-1
        x=tl.load(X+((n[:,None]*C+c[None,:])*H+h)*WD+w,mask=(om[:,None]<N*P*Q)&(kk[None,:]<KK)&(h>=0)&(h<H)&(w>=0)&(w<WD),other=0.)
        ww=tl.load(W+on[None,:]*KK+kk[:,None],mask=(kk[:,None]<KK)&(on[None,:]<OC),other=0.)
        acc+=tl.dot(x,ww)
    tl.store(Y+((n[:,None]*OC+on[None,:])*P+p[:,None])*Q+q[:,None],acc,mask=(om[:,None]<N*P*Q)&(on[None,:]<OC))
def co():
    N,C,H,W,OC=1,6,7,9,20; x=f(N,C,H,W).astype(np.float16); w=f(OC,C,3,3).astype(np.float16); xp=np.pad(D(x),((0,0),(0,0),(1,1),(1,1))); y=np.zeros((N,OC,H,W))
    for r in range(3):
        for s in range(3): y+=np.einsum("nchw,oc->nohw",xp[:,:,r:r+H,s:s+W],D(w)[:,:,r,s])
    tcase("tri_conv2d",conv2d,dict(X=Buf("X",x),W=Buf("W",w),Y=Buf("Y",np.zeros(y.shape,np.float32),y,1e-5),N=("s32",N),C=("s32",C),H=("s32",H),WD=("s32",W),OC=("s32",OC),P=("s32",H),Q=("s32",W)),dict(R=3,S=3,BM=32,BN=32,BK=32),[2,1])
@triton.jit
def adamw(P,G,M,V,lr,b1,b2,eps,wd,step,n,BLOCK: tl.constexpr):
    o=tl.program_id(0)*BLOCK+tl.arange(0,BLOCK); k=o<n
    p=tl.load(P+o,mask=k).to(tl.float32);g=tl.load(G+o,mask=k).to(tl.float32);m=tl.load(M+o,mask=k);v=tl.load(V+o,mask=k)
    m=b1*m+(1-b1)*g; v=b2*v+(1-b2)*g*g
    mh=m/(1-libdevice.pow(b1,step)); vh=v/(1-libdevice.pow(b2,step))
    p=p*(1-lr*wd)-lr*mh/(tl.sqrt(vh)+eps)
    tl.store(P+o,p.to(P.dtype.element_ty),mask=k);tl.store(M+o,m,mask=k);tl.store(V+o,v,mask=k)
def ad():
    n=700; p=f(n).astype(bf16); g=f(n).astype(bf16); m=f(n,scale=.1); v=abs(f(n,scale=.1)); lr,b1,b2,eps,wd,t=[float(np.float32(q)) for q in (.01,.9,.999,1e-8,.1,3.)]
    M=b1*D(m)+(1-b1)*D(g); V=b2*D(v)+(1-b2)*D(g)**2; P=D(p)*(1-lr*wd)-lr*(M/(1-b1**t))/(np.sqrt(V/(1-b2**t))+eps)
    tcase("tri_adamw",adamw,dict(P=Buf("P",p,P,1e-2),G=Buf("G",g),M=Buf("M",m,M,1e-5),V=Buf("V",v,V,1e-5),lr=("f32",lr),b1=("f32",b1),b2=("f32",b2),eps=("f32",eps),wd=("f32",wd),step=("f32",t),n=("s32",n)),dict(BLOCK=256),[3])
@triton.jit(noinline=True)
def helper(x,y):
    return x*y+tl.exp(x)
@triton.jit
def noinl(X,Y,O,n: tl.constexpr):
    o=tl.arange(0,n); x=tl.load(X+o); y=tl.load(Y+o)
    a=helper(x,y); b=helper(y,x)
    tl.store(O+o,a+2*b)
def ni():
    x,y=f(256),f(256); tcase("tri_noinline",noinl,dict(X=Buf("X",x),Y=Buf("Y",y),O=Buf("O",np.zeros(256,np.float32),3*D(x)*y+np.exp(D(x))+2*np.exp(D(y)),1e-6)),dict(n=256),[1])
@triton.jit
def fp8k(X,A,B,Y,Z,n: tl.constexpr):
    o=tl.arange(0,n); x=tl.load(X+o)
    tl.store(A+o,x.to(tl.float8e5)); 
    tl.store(Y+o,x.to(tl.float8e5).to(tl.float32))
    tl.store(B+o,x.to(tl.float16).to(tl.float8e5)); tl.store(Z+o,x.to(tl.float8e5).to(tl.float16).to(tl.float32))
@triton.jit
def fp8n(X,A,Y,n: tl.constexpr):
    o=tl.arange(0,n); x=tl.load(X+o)
    e=x.to(tl.float8e4nv)
    tl.store(A+o,e); tl.store(Y+o,e.to(tl.float32))
def f8():
    n=256; x=f(n,scale=4)
    e=x.astype(ml_dtypes.float8_e5m2); 
    for cap in (80,90):
        tcase("tri_fp8e5_%d"%cap,fp8k,dict(X=Buf("X",x),A=Buf("A",np.zeros(n,np.uint8),e.view(np.uint8)),B=Buf("B",np.zeros(n,np.uint8),x.astype(np.float16).astype(ml_dtypes.float8_e5m2).view(np.uint8)),Y=Buf("Y",np.zeros(n,np.float32),e.astype(np.float32)),Z=Buf("Z",np.zeros(n,np.float32),e.astype(np.float32))),dict(n=n),[1],cap=cap,fp8=dict(A="fp8e5",B="fp8e5"))
    e=x.astype(ml_dtypes.float8_e4m3fn)
    for cap in (89,90):
        tcase("tri_fp8e4_%d"%cap,fp8n,dict(X=Buf("X",x),A=Buf("A",np.zeros(n,np.uint8),e.view(np.uint8)),Y=Buf("Y",np.zeros(n,np.float32),e.astype(np.float32))),dict(n=n),[1],cap=cap,fp8=dict(A="fp8e4nv"))
@triton.jit
def mm8(A,B,C,M,N,K,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr):
    om=tl.arange(0,BM);on=tl.arange(0,BN);ok=tl.arange(0,BK); acc=tl.zeros([BM,BN],tl.float32)
    for k in range(0,K,BK):
        acc=tl.dot(tl.load(A+om[:,None]*K+k+ok[None,:]),tl.load(B+on[None,:]*K+k+ok[:,None]),acc)
    tl.store(C+om[:,None]*N+on[None,:],acc)
def m8():
    M,N,K=64,64,64; 
    for nm,ty in (("fp8e4nv",ml_dtypes.float8_e4m3fn),("fp8e5",ml_dtypes.float8_e5m2)):
        a=f(M,K).astype(ty); b=f(N,K).astype(ty)
        for cap in (89,90):
            tcase("tri_mm_%s_%d"%(nm,cap),mm8,dict(A=Buf("A",a.view(np.uint8)),B=Buf("B",b.view(np.uint8)),C=Buf("C",np.zeros((M,N),np.float32),a.astype(np.float64)@b.astype(np.float64).T,1e-3),M=("s32",M),N=("s32",N),K=("s32",K)),dict(BM=64,BN=64,BK=32),[1],cap=cap,fp8=dict(A=nm,B=nm))
@triton.jit
def tdesc(A,B,C,M,N,K,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr):
    a=tl.make_tensor_descriptor(A,[M,K],[K,1],[BM,BK]); b=tl.make_tensor_descriptor(B,[K,N],[N,1],[BK,BN]); c=tl.make_tensor_descriptor(C,[M,N],[N,1],[BM,BN])
    pm=tl.program_id(0);pn=tl.program_id(1); acc=tl.zeros([BM,BN],tl.float32)
    for k in range(0,K,BK):
        acc=tl.dot(a.load([pm*BM,k]),b.load([k,pn*BN]),acc)
    c.store([pm*BM,pn*BN],acc.to(tl.float16))
def td():
    M,N,K=64,64,96; a=f(M,K).astype(np.float16); b=f(K,N).astype(np.float16)
    for cap in (80,90):
        tcase("tri_tdesc_%d"%cap,tdesc,dict(A=Buf("A",a),B=Buf("B",b),C=Buf("C",np.zeros((M,N),np.float16),D(a)@D(b),1e-3),M=("s32",M),N=("s32",N),K=("s32",K)),dict(BM=64,BN=64,BK=32),[1,1],cap=cap)
@triton.jit
def blockptr(A,B,C,M,N,K,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr):
    pm=tl.program_id(0);pn=tl.program_id(1)
    a=tl.make_block_ptr(A,(M,K),(K,1),(pm*BM,0),(BM,BK),(1,0)); b=tl.make_block_ptr(B,(K,N),(N,1),(0,pn*BN),(BK,BN),(1,0))
    acc=tl.zeros([BM,BN],tl.float32)
    for k in range(0,K,BK):
        acc+=tl.dot(tl.load(a,boundary_check=(0,1)),tl.load(b,boundary_check=(0,1))); a=tl.advance(a,(0,BK)); b=tl.advance(b,(BK,0))
    c=tl.make_block_ptr(C,(M,N),(N,1),(pm*BM,pn*BN),(BM,BN),(1,0)); tl.store(c,acc.to(tl.float16),boundary_check=(0,1))
@triton.jit
def misc(X,Y,I,G,O,n: tl.constexpr):
    o=tl.arange(0,n); x=tl.load(X+o); 
    y=tl.inline_asm_elementwise("{ .reg .pred p; setp.gt.f32 p, $1, 0f00000000; selp.f32 $0, $1, 0f3f800000, p; }","=f,f",[x],dtype=tl.float32,is_pure=True,pack=1)
    tl.store(Y+o,y)
    i=tl.load(I+o); g=tl.gather(x,i,0); tl.store(G+o,g)
    z=tl.reshape(x,[n//8,8]); z=tl.permute(z,[1,0]); r=tl.reduce(z,1,mx_); r2=tl.sum(tl.flip(z,1)*tl.arange(0,n//8)[None,:],1)
    tl.store(O+tl.arange(0,8),r); tl.store(O+8+tl.arange(0,8),r2)
    a=tl.argmin(x,0); tl.store(O+16,a.to(tl.float32)); tl.store(O+17,tl.xor_sum(i,0).to(tl.float32))
@triton.jit
def mx_(a,b): return tl.where(a>b,a,b)
def bp():
    M,N,K=60,70,48; a=f(M,K).astype(np.float16); b=f(K,N).astype(np.float16)
    n=256; x=f(n); i=rng.integers(0,n,n).astype(np.int32); z=D(x).reshape(n//8,8).T; o=np.zeros(18); o[:8]=z.max(1); o[8:16]=(z[:,::-1]*np.arange(n//8)).sum(1); o[16]=x.argmin(); o[17]=np.bitwise_xor.reduce(i)
    for cap in (80,90): tcase("tri_misc_%d"%cap,misc,dict(X=Buf("X",x),Y=Buf("Y",np.zeros(n,np.float32),np.where(x>0,x,1)),I=Buf("I",i),G=Buf("G",np.zeros(n,np.float32),x[i]),O=Buf("O",np.zeros(18,np.float32),o,1e-6)),dict(n=n),[1],cap=cap)
@triton.jit
def softmax_online(X,Y,stride,n,BLOCK: tl.constexpr,ROWS: tl.constexpr,STAGES: tl.constexpr):
    pid=tl.program_id(0)
    for r in tl.range(pid,ROWS,tl.num_programs(0),num_stages=STAGES):
        o=tl.arange(0,BLOCK); x=tl.load(X+r*stride+o,mask=o<n,other=-float("inf")); x=x-tl.max(x,0); e=tl.exp(x); tl.store(Y+r*stride+o,e/tl.sum(e,0),mask=o<n)
@triton.jit
def wf(mean_a,m2_a,n_a,mean_b,m2_b,n_b):
    d=mean_b-mean_a; n=n_a+n_b; q=tl.where(n==0,0.,n_b/n)
    return mean_a+d*q,m2_a+m2_b+d*d*n_a*q,n
@triton.jit
def welford(X,MU,VAR,n,BLOCK: tl.constexpr):
    r=tl.program_id(0); o=tl.arange(0,BLOCK); x=tl.load(X+r*n+o,mask=o<n,other=0.)
    mean,m2,c=tl.reduce((x,tl.zeros_like(x),tl.where(o<n,1.,0.)),0,wf); tl.store(MU+r,mean); tl.store(VAR+r,m2/c)
def so():
    R,n=10,300; x=f(R,n); e=np.exp(D(x)-x.max(1,keepdims=True)); 
    tcase("tri_softmax_persist",softmax_online,dict(X=Buf("X",x),Y=Buf("Y",np.zeros_like(x),e/e.sum(1,keepdims=True),1e-5),stride=("s32",n),n=("s32",n)),dict(BLOCK=512,ROWS=R,STAGES=2),[3],num_warps=8)
    tcase("tri_welford",welford,dict(X=Buf("X",x),MU=Buf("MU",np.zeros(R,np.float32),D(x).mean(1),1e-5),VAR=Buf("VAR",np.zeros(R,np.float32),D(x).var(1),1e-5),n=("s32",n)),dict(BLOCK=512),[R])
@triton.jit
def splitk(A,B,C,LOCKS,M,N,K,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr,SK: tl.constexpr):
    pm=tl.program_id(0);pn=tl.program_id(1);pk=tl.program_id(2); om=pm*BM+tl.arange(0,BM);on=pn*BN+tl.arange(0,BN);ok=pk*BK+tl.arange(0,BK); acc=tl.zeros([BM,BN],tl.float32)
    for k in range(0,K,BK*SK):
        acc+=tl.dot(tl.load(A+om[:,None]*K+(k+ok)[None,:]),tl.load(B+(k+ok)[:,None]*N+on[None,:]))
    L=LOCKS+pm*tl.num_programs(1)+pn
    c=C+om[:,None]*N+on[None,:]
    while tl.atomic_cas(L,pk,pk,sem="acquire")!=pk: pass
    if pk>0: acc+=tl.load(c)
    tl.store(c,acc)
    tl.debug_barrier()
    tl.atomic_xchg(L,pk+1,sem="release")
def sk():
    M,N,K=64,64,128; a=f(M,K).astype(np.float16); b=f(K,N).astype(np.float16)
    for cap in (80,90): tcase("tri_splitk_%d"%cap,splitk,dict(A=Buf("A",a),B=Buf("B",b),C=Buf("C",np.zeros((M,N),np.float32),D(a)@D(b),1e-5),LOCKS=Buf("LOCKS",np.zeros(4,np.int32)),M=("s32",M),N=("s32",N),K=("s32",K)),dict(BM=32,BN=32,BK=32,SK=2),[2,2,2],cap=cap)
@triton.jit
def intmath(A,B,O,P,n: tl.constexpr):
    o=tl.arange(0,n); a=tl.load(A+o); b=tl.load(B+o)
    tl.store(O+o,a//b); tl.store(O+n+o,a%b); tl.store(O+2*n+o,a*b); tl.store(O+3*n+o,tl.umulhi(a.to(tl.uint64,bitcast=True),b.to(tl.uint64,bitcast=True)).to(tl.int64,bitcast=True)); tl.store(O+4*n+o,a>>(b&15)); tl.store(O+5*n+o,tl.maximum(a,b)); tl.store(O+6*n+o,tl.clamp(a.to(tl.float32),-5.,7.).to(tl.int64))
    a8=a.to(tl.int8); b8=b.to(tl.int8); tl.store(P+o,a8*b8); tl.store(P+n+o,a8+b8); tl.store(P+2*n+o,(a8>b8).to(tl.int8)); tl.store(P+3*n+o,tl.abs(a8)); tl.store(P+4*n+o,a8>>2)
def im():
    n=128; a=rng.integers(-2**40,2**40,n); b=rng.integers(1,1000,n)*rng.choice([-1,1],n)
    q=np.array([int(abs(int(x))//abs(int(y)))*(1 if (x<0)==(y<0) else -1) for x,y in zip(a,b)])
    mul=(a.astype(object)*b.astype(object)); wrap=np.array([((int(v)+2**63)%2**64)-2**63 for v in mul])
    um=np.array([((int(x)&(2**64-1))*(int(y)&(2**64-1)))>>64 for x,y in zip(a,b)],dtype=np.uint64).view(np.int64)
    O=np.stack([q,a-q*b,wrap,um,a>>(b&15),np.maximum(a,b),np.clip(a.astype(np.float32),-5,7).astype(np.int64)])
    a8=a.astype(np.int8); b8=b.astype(np.int8)
    with np.errstate(all="ignore"): P=np.stack([a8*b8,a8+b8,(a8>b8).astype(np.int8),np.abs(a8),a8>>2])
    tcase("tri_intmath",intmath,dict(A=Buf("A",a),B=Buf("B",b),O=Buf("O",np.zeros(O.shape,np.int64),O),P=Buf("P",np.zeros(P.shape,np.int8),P)),dict(n=n),[1])
ALL=dict(cv=cv,ma=ma,q4=q4,ro=ro,eb=eb,co=co,ad=ad,ni=ni,f8=f8,m8=m8,td=td,bp=bp,so=so,sk=sk,im=im)
for k in (sys.argv[1:] or ALL):
    try: ALL[k]()
    except BaseException as e:
        import traceback; traceback.print_exc(limit=3); print("FAILED",k,repr(e)[:300])
