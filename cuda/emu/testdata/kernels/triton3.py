from tritonlib import *
import sys
def f(*s, scale=1.0): return (rng.standard_normal(s)*scale).astype(np.float32)
D=lambda v:v.astype(np.float64)
@triton.jit
def ws(A,B,C,M,N,K,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr,WS: tl.constexpr):
    a=tl.make_tensor_descriptor(A,[M,K],[K,1],[BM,BK]); b=tl.make_tensor_descriptor(B,[N,K],[K,1],[BN,BK]); c=tl.make_tensor_descriptor(C,[M,N],[N,1],[BM,BN])
    pm=tl.program_id(0);pn=tl.program_id(1); acc=tl.zeros([BM,BN],tl.float32)
    for k in tl.range(0,K,BK,warp_specialize=WS):
        acc=tl.dot(a.load([pm*BM,k]),b.load([pn*BN,k]).T,acc)
    c.store([pm*BM,pn*BN],acc.to(tl.float16))
def wsp():
    M,N,K=128,64,128; a=f(M,K).astype(np.float16); b=f(N,K).astype(np.float16)
    for w in (True,False):
      for st in (2,4):
        tcase("tri_ws%d_%d"%(w,st),ws,dict(A=Buf("A",a),B=Buf("B",b),C=Buf("C",np.zeros((M,N),np.float16),D(a)@D(b).T,1e-3),M=("s32",M),N=("s32",N),K=("s32",K)),dict(BM=128,BN=64,BK=32,WS=w),[1,1],cap=90,num_warps=4,num_stages=st)
@triton.jit
def persist(A,B,C,M,N,K,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr,NSM: tl.constexpr):
    s=tl.program_id(0); nm=tl.cdiv(M,BM); nn=tl.cdiv(N,BN); nk=tl.cdiv(K,BK)
    om=tl.arange(0,BM);on=tl.arange(0,BN);ok=tl.arange(0,BK)
    for t in tl.range(s,nm*nn,NSM,flatten=True):
        pm=t//nn;pn=t%nn; acc=tl.zeros([BM,BN],tl.float32)
        for k in range(nk):
            x=tl.load(A+(pm*BM+om)[:,None]*K+(k*BK+ok)[None,:],mask=((pm*BM+om)[:,None]<M)&((k*BK+ok)[None,:]<K),other=0.)
            y=tl.load(B+(k*BK+ok)[:,None]*N+(pn*BN+on)[None,:],mask=((k*BK+ok)[:,None]<K)&((pn*BN+on)[None,:]<N),other=0.)
            acc=tl.dot(x,y,acc)
        tl.store(C+(pm*BM+om)[:,None]*N+(pn*BN+on)[None,:],acc.to(C.dtype.element_ty),mask=((pm*BM+om)[:,None]<M)&((pn*BN+on)[None,:]<N))
def pe():
    M,N,K=150,136,72; 
    for cap,dt in((80,np.float16),(90,bf16),(90,np.float32)):
        a=f(M,K).astype(dt); b=f(K,N).astype(dt)
        tcase("tri_persist_%d_%s"%(cap,DT[np.dtype(dt)]),persist,dict(A=Buf("A",a),B=Buf("B",b),C=Buf("C",np.zeros((M,N),dt),D(a)@D(b),1e-2),M=("s32",M),N=("s32",N),K=("s32",K)),dict(BM=64,BN=64,BK=32,NSM=3),[3],cap=cap,num_stages=3)
@triton.jit
def cluster_mm(A,B,C,M,N,K,BM: tl.constexpr,BN: tl.constexpr,BK: tl.constexpr):
    pm=tl.program_id(0);pn=tl.program_id(1);om=pm*BM+tl.arange(0,BM);on=pn*BN+tl.arange(0,BN);ok=tl.arange(0,BK); acc=tl.zeros([BM,BN],tl.float32)
    for k in range(0,K,BK):
        acc+=tl.dot(tl.load(A+om[:,None]*K+(k+ok)[None,:]),tl.load(B+(k+ok)[:,None]*N+on[None,:]))
    tl.store(C+om[:,None]*N+on[None,:],acc)
def cm():
    M,N,K=128,64,64; a=f(M,K).astype(np.float16); b=f(K,N).astype(np.float16)
    tcase("tri_ctas2",cluster_mm,dict(A=Buf("A",a),B=Buf("B",b),C=Buf("C",np.zeros((M,N),np.float32),D(a)@D(b),1e-5),M=("s32",M),N=("s32",N),K=("s32",K)),dict(BM=128,BN=64,BK=32),[2,1],cap=90,num_ctas=2)
@triton.jit
def tma_misc(X,Y,Z,H: tl.constexpr,W: tl.constexpr):
    x=tl.make_tensor_descriptor(X,[H,W],[W,1],[8,16]); y=tl.make_tensor_descriptor(Y,[H,W],[W,1],[8,16]); z=tl.make_tensor_descriptor(Z,[H,W],[W,1],[8,16])
    i=tl.program_id(0)
    v=x.load([i*8-4,4]); y.store([i*8,4],v*2); z.atomic_add([0,8],v)
def tm():
    H,W=20,32; x=f(H,W); y=np.zeros((H,W)); z=np.zeros((H,W))
    for i in range(3):
        v=np.zeros((8,16)); 
        for r in range(8):
            if 0<=i*8-4+r<H: v[r]=x[i*8-4+r,4:20]
        for r in range(8):
            if i*8+r<H: y[i*8+r,4:20]=2*v[r]
        z[0:8,8:24]+=v
    tcase("tri_tma_misc",tma_misc,dict(X=Buf("X",x),Y=Buf("Y",np.zeros((H,W),np.float32),y,1e-6),Z=Buf("Z",np.zeros((H,W),np.float32),z,1e-5)),dict(H=H,W=W),[3],cap=90)
@triton.jit
def groupnorm(X,W,B,Y,C,HW,G,eps,BLOCK: tl.constexpr):
    n=tl.program_id(0);g=tl.program_id(1); cpg=C//G; base=(n*C+g*cpg)*HW; tot=cpg*HW
    s=tl.zeros([BLOCK],tl.float32);q=tl.zeros([BLOCK],tl.float32)
    for i in range(0,tot,BLOCK):
        o=i+tl.arange(0,BLOCK); x=tl.load(X+base+o,mask=o<tot,other=0.).to(tl.float32); s+=x;q+=x*x
    mu=tl.sum(s)/tot; rs=1/tl.sqrt(tl.sum(q)/tot-mu*mu+eps)
    for i in range(0,tot,BLOCK):
        o=i+tl.arange(0,BLOCK); m=o<tot; x=tl.load(X+base+o,mask=m).to(tl.float32); c=g*cpg+o//HW
        y=(x-mu)*rs*tl.load(W+c,mask=m)+tl.load(B+c,mask=m); y=y*tl.sigmoid(y)
        tl.store(Y+base+o,y.to(Y.dtype.element_ty),mask=m)
def gn():
    N,C,HW,G=2,12,35,3; x=f(N,C,HW).astype(np.float16); w=f(C); b=f(C); X=D(x).reshape(N,G,-1); y=(X-X.mean(-1,keepdims=True))/np.sqrt(X.var(-1,keepdims=True)+1e-5); y=y.reshape(N,C,HW)*w[:,None]+b[:,None]; y=y/(1+np.exp(-y))
    tcase("tri_groupnorm",groupnorm,dict(X=Buf("X",x),W=Buf("W",w),B=Buf("B",b),Y=Buf("Y",np.zeros_like(x),y,2e-3),C=("s32",C),HW=("s32",HW),G=("s32",G),eps=("f32",1e-5)),dict(BLOCK=128),[N,G])
@triton.jit
def quant(X,Q,S,n,BLOCK: tl.constexpr):
    r=tl.program_id(0);o=tl.arange(0,BLOCK);x=tl.load(X+r*n+o,mask=o<n,other=0.).to(tl.float32); s=tl.max(tl.abs(x))/127.; y=x/s
    q=tl.extra.cuda.libdevice.rint(y).to(tl.int8); tl.store(Q+r*n+o,q,mask=o<n); tl.store(S+r,s)
@triton.jit
def ssm(X,Dt,A,B,C,Y,T,DM: tl.constexpr,NS: tl.constexpr):
    d=tl.program_id(0)*DM+tl.arange(0,DM); n=tl.arange(0,NS); h=tl.zeros([DM,NS],tl.float32); a=tl.load(A+d[:,None]*NS+n[None,:])
    for t in range(T):
        dt=tl.load(Dt+t*32+d); x=tl.load(X+t*32+d); b=tl.load(B+t*NS+n); c=tl.load(C+t*NS+n)
        h=h*tl.exp(dt[:,None]*a)+(dt*x)[:,None]*b[None,:]
        tl.store(Y+t*32+d,tl.sum(h*c[None,:],1))
def qs():
    R,n=4,100; x=f(R,n).astype(bf16); X=x.astype(np.float32); s=(abs(X).max(1)/np.float32(127)).astype(np.float32); q=np.rint(X/s[:,None])
    tcase("tri_quant8",quant,dict(X=Buf("X",x),Q=Buf("Q",np.zeros((R,n),np.int8),q,0.009),S=Buf("S",np.zeros(R,np.float32),s,1e-6),n=("s32",n)),dict(BLOCK=128),[R],num_warps=1)
    T,NS=10,8; x=f(T,32);dt=abs(f(T,32))*.1;A=-abs(f(32,NS));B=f(T,NS);C=f(T,NS);h=np.zeros((32,NS));y=np.zeros((T,32))
    for t in range(T): h=h*np.exp(D(dt[t])[:,None]*A)+(D(dt[t])*x[t])[:,None]*B[t][None]; y[t]=(h*C[t]).sum(1)
    tcase("tri_ssm",ssm,dict(X=Buf("X",x),Dt=Buf("Dt",dt.astype(np.float32)),A=Buf("A",A.astype(np.float32)),B=Buf("B",B),C=Buf("C",C),Y=Buf("Y",np.zeros((T,32),np.float32),y,1e-5),T=("s32",T)),dict(DM=16,NS=NS),[2],num_warps=2)
@triton.jit
def dbg(X,Y,n: tl.constexpr):
    o=tl.arange(0,n); x=tl.load(X+o); tl.device_assert(x<1e9,"big"); tl.device_print("x",x); tl.store(Y+o,x+1)
@triton.jit
def argk(X,I,V,n,BLOCK: tl.constexpr,K: tl.constexpr):
    r=tl.program_id(0);o=tl.arange(0,BLOCK);x=tl.load(X+r*n+o,mask=o<n,other=-float("inf"))
    u=x.to(tl.int32,bitcast=True); key=tl.where(u<0,~u,u|(-2147483648)).to(tl.uint32,bitcast=True).to(tl.uint64); kk=(key<<32)|(o^-1).to(tl.uint32,bitcast=True).to(tl.uint64)
    t=tl.topk(kk,K); idx=(t.to(tl.uint32)).to(tl.int32,bitcast=True)^-1; tl.store(I+r*K+tl.arange(0,K),idx); tl.store(V+r*K+tl.arange(0,K),tl.load(X+r*n+idx))
def dk():
    n=128; x=f(n)
    tcase("tri_debug",dbg,dict(X=Buf("X",x),Y=Buf("Y",np.zeros(n,np.float32),x+1)),dict(n=n),[1],debug=True)
    R,n,K=3,90,8; x=f(R,n); i=np.argsort(-x,1,kind="stable")[:,:K]
    tcase("tri_argtopk",argk,dict(X=Buf("X",x),I=Buf("I",np.zeros((R,K),np.int32),i),V=Buf("V",np.zeros((R,K),np.float32),np.take_along_axis(x,i,1)),n=("s32",n)),dict(BLOCK=128,K=K),[R])
ALL=dict(wsp=wsp,pe=pe,cm=cm,tm=tm,gn=gn,qs=qs,dk=dk)
for k in (sys.argv[1:] or ALL):
    try: ALL[k]()
    except BaseException as e:
        import traceback; traceback.print_exc(limit=3); print("FAILED",k,repr(e)[:300])
