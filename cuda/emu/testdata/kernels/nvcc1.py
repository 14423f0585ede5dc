from lib import *
import sys, math
def f(*s, scale=1.0): return (rng.standard_normal(s)*scale).astype(np.float32)
def red():
    src=r'''
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
namespace cg=cooperative_groups;
extern "C" __global__ void red(const float*x,int n,float*out,int*cnt,unsigned*bal,float*scan){
  auto b=cg::this_thread_block(); auto t=cg::tiled_partition<16>(b);
  __shared__ float s[32];
  float v=0; for(int i=blockIdx.x*blockDim.x+threadIdx.x;i<n;i+=gridDim.x*blockDim.x) v+=x[i];
  float r=cg::reduce(t,v,cg::plus<float>());
  if(t.thread_rank()==0) s[threadIdx.x/16]=r;
  b.sync();
  if(threadIdx.x<32){ float q=threadIdx.x<blockDim.x/16?s[threadIdx.x]:0; for(int o=16;o;o>>=1) q+=__shfl_xor_sync(~0u,q,o); if(threadIdx.x==0) atomicAdd(out,q);}
  int c=__syncthreads_count(v>0); if(threadIdx.x==0) atomicAdd(cnt,c);
  int a=__syncthreads_or(v>3.f), d=__syncthreads_and(v>-100.f); if(threadIdx.x==0){atomicMax(cnt+1,a);atomicMin(cnt+2,d);}
  unsigned m=__ballot_sync(~0u,v>0); if((threadIdx.x&31)==0) bal[(blockIdx.x*blockDim.x+threadIdx.x)/32]=m;
  auto w=cg::tiled_partition<32>(b);
  float sc=cg::inclusive_scan(w,v,cg::plus<float>());
  scan[blockIdx.x*blockDim.x+threadIdx.x]=sc;
  if(v>0){ auto g=cg::coalesced_threads(); int k=cg::reduce(g,1,cg::plus<int>()); if(g.thread_rank()==0) atomicAdd(cnt+3,k); }
  unsigned mm=__match_any_sync(~0u,threadIdx.x%5); if(threadIdx.x%32==0) atomicAdd(cnt+4,__popc(mm));
  int mx=__reduce_max_sync(~0u,(int)threadIdx.x); if(threadIdx.x%32==0) atomicAdd(cnt+5,mx);
}'''
    n=3000; G,B=3,128; x=f(n); v=np.zeros(G*B); 
    for i in range(n): v[i%(G*B)]+=x[i]
    v32=np.zeros(G*B,np.float32)
    for i in range(n): v32[i%(G*B)]+=x[i]
    w=v32.reshape(-1,32)>0; bal=(w*(1<<np.arange(32,dtype=np.uint64))).sum(1).astype(np.uint32)
    cnt=[(v32>0).sum(),0,1,(v32>0).sum(),0,0]
    cnt[1]=int((v32>3).any()); 
    for wv in range(4*G): cnt[4]+=sum(1 for t in range(32) if ((wv%4)*32+t)%5==((wv%4)*32)%5)
    cnt[5]=sum((wv%4)*32+31 for wv in range(4*G))
    c0=np.array([0,0,7,0,0,0],np.int32)
    for arch in ("sm_80","sm_90"):
        case("nvcc_cg_"+arch,nvcc(src,arch),[G],[B],[Buf("x",x),("s32",n),Buf("out",np.zeros(1,np.float32),[x.astype(np.float64).sum()],1e-5),Buf("cnt",c0,cnt),Buf("bal",np.zeros(4*G,np.uint32),bal),Buf("scan",np.zeros(G*B,np.float32),np.cumsum(v.reshape(-1,32),1).ravel(),1e-5)])
def funcs():
    src=r'''
#include <cuda_fp16.h>
#include <cuda_bf16.h>
struct S{float a[5];int n;double d;};
__device__ __noinline__ float poly(const S s,float x){float r=0;for(int i=0;i<s.n;i++) r=r*x+s.a[i];return r+(float)s.d;}
__device__ __noinline__ S mk(float a,int n){S s; for(int i=0;i<5;i++) s.a[i]=a*(i+1); s.n=n; s.d=a*.5; return s;}
__device__ __noinline__ int sw(int k,int x){ switch(k){case 0:return x+1;case 1:return x*3;case 2:return x^0x55;case 3:return x<<2;case 4:return ~x;case 5:return x/7;case 6:return x%7;case 7:return __popc(x);case 8:return __clz(x);case 9: return x*x; default:return -1;} }
__device__ __noinline__ void two(float x,float&s,float&c){sincosf(x,&s,&c);}
__constant__ float tab[8]={1,2,4,8,16,32,64,128};
extern "C" __global__ void fn(const float*x,const int*k,float*y,int*z,float*w,int n){
  int i=blockIdx.x*blockDim.x+threadIdx.x; if(i>=n) return;
  y[i]=poly(mk(x[i],1+(i%5)),x[i]*.25f)*tab[i&7];
  z[i]=sw(k[i],i*1234567);
  float s,c; two(x[i],s,c); w[2*i]=s; w[2*i+1]=c;
  float loc[16]; for(int j=0;j<16;j++) loc[j]=x[(i+j)%n];
  float acc=0; for(int j=0;j<16;j++) acc+=loc[(j*k[i])&15];
  y[i]+=acc;
}'''
    n=200; x=f(n); k=rng.integers(0,12,n).astype(np.int32)
    X=x.astype(np.float64); y=np.zeros(n); z=np.zeros(n,np.int64)
    for i in range(n):
        a=[X[i]*(j+1) for j in range(5)]; r=0
        for j in range(1+i%5): r=r*(X[i]*.25)+a[j]
        y[i]=(r+X[i]*.5)*2.0**(i&7)+sum(X[(i+((j*int(k[i]))&15))%n] for j in range(16))
        v=int(np.int32((i*1234567)&0xffffffff if (i*1234567)&0xffffffff<2**31 else ((i*1234567)&0xffffffff)-2**32)); u=v&0xffffffff
        def s32(t): t&=0xffffffff; return t-2**32 if t>=2**31 else t
        z[i]={0:v+1,1:s32(v*3),2:v^0x55,3:s32(v<<2),4:~v,5:int(v/7),6:v-7*int(v/7),7:bin(u).count("1"),8:32-u.bit_length(),9:s32(v*v)}.get(int(k[i]),-1)
    w=np.stack([np.sin(X),np.cos(X)],1).ravel()
    case("nvcc_funcs",nvcc(src),[2],[128],[Buf("x",x),Buf("k",k),Buf("y",np.zeros(n,np.float32),y,1e-5),Buf("z",np.zeros(n,np.int32),z),Buf("w",np.zeros(2*n,np.float32),w,1e-6),("s32",n)])
    case("nvcc_funcs_G",nvcc(src,"sm_80",["-G"]),[2],[128],[Buf("x",x),Buf("k",k),Buf("y",np.zeros(n,np.float32),y,1e-5),Buf("z",np.zeros(n,np.int32),z),Buf("w",np.zeros(2*n,np.float32),w,1e-6),("s32",n)])
    case("nvcc_funcs_O0",nvcc(src,"sm_80",["-Xcicc","-O0","-lineinfo"]),[2],[128],[Buf("x",x),Buf("k",k),Buf("y",np.zeros(n,np.float32),y,1e-5),Buf("z",np.zeros(n,np.int32),z),Buf("w",np.zeros(2*n,np.float32),w,1e-6),("s32",n)])
def indirect():
    src=r'''
typedef float(*F)(float);
__device__ __noinline__ float f0(float x){return x*2;} __device__ __noinline__ float f1(float x){return x+1;} __device__ __noinline__ float f2(float x){return x*x;}
__device__ F tabf[3]={f0,f1,f2};
struct B{ __device__ virtual float g(float x)=0; }; struct D1:B{float c; __device__ D1(float a):c(a){} __device__ float g(float x)override{return x*c;}}; struct D2:B{ __device__ float g(float x)override{return x-1;}};
__device__ __noinline__ int fib(int n){ return n<2?n:fib(n-1)+fib(n-2); }
extern "C" __global__ void ind(const float*x,float*y,int*z,int n){ int i=threadIdx.x; if(i>=n)return; float v=tabf[i%3](x[i]); D1 d(3.f); D2 e; B*b= i&1?(B*)&d:(B*)&e; y[i]=b->g(v); z[i]=fib(i%10); }'''
    n=50; x=f(n); X=x.astype(np.float64); v=np.where(np.arange(n)%3==0,X*2,np.where(np.arange(n)%3==1,X+1,X*X)); y=np.where(np.arange(n)&1,v*3,v-1)
    fib=[0,1]
    for i in range(10): fib.append(fib[-1]+fib[-2])
    case("nvcc_indirect",nvcc(src),[1],[64],[Buf("x",x),Buf("y",np.zeros(n,np.float32),y,1e-6),Buf("z",np.zeros(n,np.int32),[fib[i%10] for i in range(n)]),("s32",n)])
def half2():
    src=r'''
#include <cuda_fp16.h>
#include <cuda_bf16.h>
extern "C" __global__ void h2(const __half2*a,const __half2*b,__half2*o,__nv_bfloat162*p,const __nv_bfloat162*q,int n){
 int i=threadIdx.x+blockIdx.x*blockDim.x; if(i>=n)return; __half2 x=a[i],y=b[i];
 o[0*n+i]=__hadd2(x,y); o[1*n+i]=__hmul2(x,y); o[2*n+i]=__hfma2(x,y,x); o[3*n+i]=__hmax2(x,y); o[4*n+i]=__hmin2(x,y); o[5*n+i]=h2exp2(x); o[6*n+i]=h2sqrt(__habs2(y)); o[7*n+i]=__hsub2(x,y); o[8*n+i]=h2rcp(y); o[9*n+i]=__h2div(x,y); o[10*n+i]=__hgt2(x,y); o[11*n+i]=h2exp(x); o[12*n+i]=h2log(__habs2(y)); o[13*n+i]=__hfma2_relu(x,y,x); o[14*n+i]=__hadd2_sat(x,y); o[15*n+i]=h2floor(x); o[16*n+i]=h2tanh(x); o[17*n+i]=__lowhigh2highlow(x); o[18*n+i]=__hneg2(x); o[19*n+i]=h2rsqrt(__habs2(y)); o[20*n+i]=h2sin(x); o[21*n+i]=h2rint(x);
 __nv_bfloat162 u=q[i], v=__floats2bfloat162_rn(__low2float(x),__high2float(y));
 p[0*n+i]=__hadd2(u,v);p[1*n+i]=__hmul2(u,v);p[2*n+i]=__hfma2(u,v,u);p[3*n+i]=__hmax2(u,v);p[4*n+i]=h2exp(u);p[5*n+i]=__hfma2_relu(u,v,u);p[6*n+i]=h2sqrt(__habs2(u));p[7*n+i]=__h2div(u,v);p[8*n+i]=h2tanh(u);p[9*n+i]=__hsub2(u,v);p[10*n+i]=__hlt2(u,v);
}
extern "C" __global__ void dummy(int*x){*x=1;}'''
    n=96; a=f(n,2).astype(np.float16); b=(f(n,2)+np.sign(f(n,2))).astype(np.float16); q=f(n,2).astype(bf16)
    A,B,Q=[v.astype(np.float64) for v in(a,b,q)]; 
    h=lambda v:v.astype(np.float16)
    o=[A+B,A*B,A*B+A,np.maximum(A,B),np.minimum(A,B),2**A,np.sqrt(abs(B)),A-B,1/B,A/B,(A>B)*1.0,np.exp(A),np.log(abs(B)),np.maximum(A*B+A,0),np.clip(A+B,0,1),np.floor(A),np.tanh(A),A[:,::-1],-A,1/np.sqrt(abs(B)),np.sin(A),np.rint(A)]
    V=np.stack([A[:,0],B[:,1]],1).astype(np.float32).astype(bf16).astype(np.float64)
    p=[Q+V,Q*V,Q*V+Q,np.maximum(Q,V),np.exp(Q),np.maximum(Q*V+Q,0),np.sqrt(abs(Q)),Q/V,np.tanh(Q),Q-V,(Q<V)*1.0]
    for arch in ("sm_80","sm_90"):
        case("nvcc_half2_"+arch,nvcc(src,arch),[3],[32],[Buf("a",a),Buf("b",b),Buf("o",np.zeros((len(o),n,2),np.float16),np.stack(o),2e-3),Buf("p",np.zeros((len(p),n,2),bf16),np.stack(p),1e-2),Buf("q",q),("s32",n)],kernel="h2")
def bits_():
    src=r'''
typedef unsigned u; typedef unsigned long long ull;
extern "C" __global__ void bt(const u*a,const u*b,u*o,ull*p,int n){ int i=threadIdx.x+blockIdx.x*blockDim.x; if(i>=n)return; u x=a[i],y=b[i]; int k=0;
#define O(e) o[(k++)*n+i]=(u)(e)
 O(__brev(x));O(__clz(x));O(__ffs(x));O(__popc(x));O(__byte_perm(x,y,0x3715));O(__byte_perm(x,y,y));O(__funnelshift_l(x,y,i));O(__funnelshift_rc(x,y,i));O(__umulhi(x,y));O(__mulhi((int)x,(int)y));O(__mul24(x,y));O(__umul24(x,y));O(__usad(x,y,7));O(__sad((int)x,(int)y,7u));O(__hadd((int)x,(int)y));O(__rhadd((int)x,(int)y));O(__uhadd(x,y));O(__dp4a((int)x,(int)y,5));O(__dp4a(x,y,5u));O(__dp2a_lo((int)x,(int)y,3));O(__vadd2(x,y));O(__vaddss2(x,y));O(__vsub4(x,y));O(__vabsdiffu4(x,y));O(__vmaxs2(x,y));O(__vminu4(x,y));O(__vcmpeq4(x,y&x));O(__vcmpgts2(x,y));O(__vavgu4(x,y));O(__viaddmax_s32(x,y,3));O(__vimax3_s32(x,y,i));O(__vibmax_s32(x,y,nullptr==a?(bool*)0:(bool*)&p)); 
 O((x>>(i&31))&((1u<<(y&15))-1)); u t; asm("bfe.u32 %0,%1,%2,%3;":"=r"(t):"r"(x),"r"(i&31),"r"(y&31)); O(t); asm("bfi.b32 %0,%1,%2,%3,%4;":"=r"(t):"r"(x),"r"(y),"r"(i&31),"r"(7)); O(t); asm("{.reg .u32 a,b; add.cc.u32 a,%1,%2; addc.u32 %0,%1,0;}":"=r"(t):"r"(x),"r"(y)); O(t); asm("lop3.b32 %0,%1,%2,%3,0xca;":"=r"(t):"r"(x),"r"(y),"r"(i)); O(t); asm("vadd.u32.u32.u32.sat.min %0,%1,%2,%3;":"=r"(t):"r"(x),"r"(y),"r"(i)); O(t);asm("vabsdiff4.u32.u32.u32.add %0,%1,%2,%3;":"=r"(t):"r"(x),"r"(y),"r"(i)); O(t); O((int)x/(int)(y|1)); O(x%(y|1)); O((int)x/10); O(x%1000u);
 ull X=((ull)x<<32)|y,Y=((ull)y<<20)|x; int m=0;
#define P(e) p[(m++)*n+i]=(ull)(e)
 P(X/(Y|1));P(X%(Y|1));P((long long)X/(long long)(Y|1));P((long long)X%(long long)(Y|1));P(__umul64hi(X,Y));P(__mul64hi(X,Y));P(__brevll(X));P(__clzll(X));P(__popcll(X));P(__ffsll(X));P(X>>(i&63));P((long long)X>>(i&63));P(X*Y);P(__double_as_longlong((double)(long long)X));P((ull)(double)X);P(__double2ll_rn((double)(long long)X*1.5)); 
 unsigned __int128 w=(unsigned __int128)X*Y; P(w>>64); w+=((unsigned __int128)Y<<64)|X; P(w>>70); P(w>>3);
}'''
    n=128; a=rng.integers(0,2**32,n,dtype=np.uint64).astype(np.uint32); b=rng.integers(0,2**32,n,dtype=np.uint64).astype(np.uint32); a[::7]=0; b[::11]=0xffffffff
    O=[];P=[]
    M=0xffffffff
    def s(v,w=32): v&=(1<<w)-1; return v-(1<<w) if v>>(w-1) else v
    def by(v): return [(v>>(8*j))&255 for j in range(4)]
    def hw(v): return [v&0xffff,(v>>16)&0xffff]
    def j4(l): return sum((v&255)<<(8*j) for j,v in enumerate(l))
    def j2(l): return sum((v&0xffff)<<(16*j) for j,v in enumerate(l))
    def perm(x,y,sel):
        src=by(x)+by(y); r=0
        for j in range(4):
            c=(sel>>(4*j))&15; v=src[c&7]
            r|=v<<(8*j)
        return r
    def tq(a,b): q=abs(a)//abs(b); return q if (a<0)==(b<0) else -q
    import struct
    for i in range(n):
        x,y=int(a[i]),int(b[i]); r=[]; X=(x<<32)|y; Y=((y<<20)|x)&(2**64-1)
        rev=lambda v,w:int(format(v,"0%db"%w)[::-1],2)
        ffs=lambda v:(v&-v).bit_length()
        pc=lambda v:bin(v).count("1")
        s24=lambda v:s(v&0xffffff,24)
        r+=[rev(x,32),32-x.bit_length(),ffs(x),pc(x),perm(x,y,0x3715),perm(x,y,y&0x7777),(((y<<32|x)<<(i&31))>>32),((y<<32|x)>>min(i,32)),x*y>>32,s(x)*s(y)>>32,s24(x)*s24(y),(x&0xffffff)*(y&0xffffff),abs(x-y)+7,abs(s(x)-s(y))+7,(s(x)+s(y))>>1,(s(x)+s(y)+1)>>1,(x+y)>>1,
         sum(s(p,8)*s(q,8) for p,q in zip(by(x),by(y)))+5,sum(p*q for p,q in zip(by(x),by(y)))+5,sum(s(p,16)*s(q,8) for p,q in zip(hw(x),by(y)[:2]))+3,
         j2([p+q for p,q in zip(hw(x),hw(y))]),j2([max(-32768,min(32767,s(p,16)+s(q,16))) for p,q in zip(hw(x),hw(y))]),j4([p-q for p,q in zip(by(x),by(y))]),j4([abs(p-q) for p,q in zip(by(x),by(y))]),j2([max(s(p,16),s(q,16)) for p,q in zip(hw(x),hw(y))]),j4([min(p,q) for p,q in zip(by(x),by(y))]),j4([255*(p==q) for p,q in zip(by(x),by(y&x))]),j2([0xffff*(s(p,16)>s(q,16)) for p,q in zip(hw(x),hw(y))]),j4([(p+q+1)>>1 for p,q in zip(by(x),by(y))]),max(s((x+y)&M),3),max(s(x),s(y),i),max(s(x),s(y)),
         (x>>(i&31))&((1<<(y&15))-1)]
        bfe=lambda v,p,l:(v>>p)&((1<<l)-1)
        r.append(bfe(x,i&31,y&31))
        mk=(((1<<7)-1)<<(i&31))&M
        r.append((y&~mk)|((x<<(i&31))&mk))
        r.append(x+((x+y)>>32)); r.append((x&y)|(~x&i)); r.append(min(min(x+y,M),i)); r.append(sum(abs(p-q) for p,q in zip(by(x),by(y)))+i)
        r.append(tq(s(x),s(y|1))); r.append(x%(y|1)); r.append(tq(s(x),10)); r.append(x%1000)
        O.append([v&M for v in r])
        sX,sY=s(X,64),s(Y|1,64); q=tq(sX,sY)
        dX=float(sX)
        p=[X//(Y|1),X%(Y|1),q,sX-q*sY,X*Y>>64,s(X,64)*s(Y,64)>>64,rev(X,64),64-X.bit_length(),pc(X),ffs(X),X>>(i&63),sX>>(i&63),X*Y,struct.unpack("<Q",struct.pack("<d",dX))[0],min(int(float(X)),2**64-1),max(-2**63,min(2**63-1,int(np.rint(dX*1.5))))]
        w=X*Y; p.append(w>>64); w=(w+((Y<<64)|X))&(2**128-1); p+= [w>>70,w>>3]
        P.append([v&(2**64-1) for v in p])
    O=np.array(O,np.uint64).T.astype(np.uint32); P=np.array(P,dtype=np.uint64).T
    case("nvcc_bits",nvcc(src.replace("O(__vibmax_s32(x,y,nullptr==a?(bool*)0:(bool*)&p));","bool bb; O(__vibmax_s32(x,y,&bb));")),[2],[64],[Buf("a",a),Buf("b",b),Buf("o",np.zeros(O.shape,np.uint32),O),Buf("p",np.zeros(P.shape,np.uint64),P),("s32",n)])
    case("nvcc_bits_90",nvcc(src.replace("O(__vibmax_s32(x,y,nullptr==a?(bool*)0:(bool*)&p));","bool bb; O(__vibmax_s32(x,y,&bb));"),"sm_90"),[2],[64],[Buf("a",a),Buf("b",b),Buf("o",np.zeros(O.shape,np.uint32),O),Buf("p",np.zeros(P.shape,np.uint64),P),("s32",n)])
def libm():
    fns=["sin","cos","tan","asin","acos","atan","sinh","cosh","tanh","asinh","exp","exp2","exp10","expm1","log","log2","log10","log1p","sqrt","rsqrt","cbrt","erf","erfc","lgamma","tgamma","floor","ceil","trunc","rint","round","j0","normcdf","erfcx","logb"]
    import math
    try:
        import scipy
    except ImportError: pass
    fns=[x for x in fns if x not in("j0","normcdf","erfcx","logb")]
    def ref(nm,x):
        t={"exp10":lambda v:10.0**v,"exp2":lambda v:2.0**v,"rsqrt":lambda v:1/np.sqrt(v),"erf":np.vectorize(math.erf),"erfc":np.vectorize(math.erfc),"lgamma":np.vectorize(math.lgamma),"tgamma":np.vectorize(math.gamma),"asin":np.arcsin,"acos":np.arccos,"atan":np.arctan,"asinh":np.arcsinh,"round":lambda v:np.sign(v)*np.floor(abs(v)+.5)}
        return t.get(nm,getattr(np,nm,None))(x)
    for ty,dt,sfx,tol in (("float",np.float32,"f",2e-6),("double",np.float64,"",1e-13)):
        body=""
        for j,nm in enumerate(fns): body+="y[%d*n+i]=%s%s(v);\n"%(j,nm,sfx)
        k=len(fns)
        two=["pow%s(v,w)"%sfx,"atan2%s(w,v)"%sfx,"fmod%s(w*9,v)"%sfx,"hypot%s(v,w)"%sfx,"remainder%s(w*9,v)"%sfx,"fdim%s(v,w)"%sfx,"ldexp%s(v,i%%9)"%sfx,"v/w","fma%s(v,w,v)"%sfx,"copysign%s(v,w)"%sfx,"nextafter%s(v,w)"%sfx]
        for e in two: body+="y[%d*n+i]=%s;\n"%(k,e); k+=1
        src='extern "C" __global__ void lm(const %s*x,const %s*z,%s*y,int n){int i=threadIdx.x+blockIdx.x*blockDim.x; if(i>=n)return; %s v=x[i],w=z[i];\n%s}'%(ty,ty,ty,ty,body)
        n=128; x=(rng.random(n)*.98+.01).astype(dt); z=(rng.standard_normal(n)*2).astype(dt); X,Z=x.astype(np.float64),z.astype(np.float64)
        ys=[ref(nm,X) for nm in fns]; rem=np.vectorize(math.remainder)
        ys+=[X**Z,np.arctan2(Z,X),np.fmod((z*dt(9)).astype(np.float64),X),np.hypot(X,Z),rem((z*dt(9)).astype(np.float64),X),np.maximum(X-Z,0),X*2.0**(np.arange(n)%9),X/Z,X*Z+X,np.copysign(X,Z),np.nextafter(x,z).astype(np.float64)]
        for flags in ((),("-use_fast_math",)):
            if flags and ty=="double": continue
            Y=np.stack(ys)
            case("nvcc_libm_%s%s"%(ty,"_fast" if flags else ""),nvcc(src,"sm_80",flags),[2],[64],[Buf("x",x),Buf("z",z),Buf("y",np.zeros(Y.shape,dt),Y,tol),("s32",n)])
def mmas():
    src=r'''
#include <mma.h>
#include <cuda_bf16.h>
using namespace nvcuda;
extern "C" __global__ void wm(const __half*a,const __half*b,float*c,const signed char*ia,const signed char*ib,int*ic,const double*da,const double*db,double*dc,const float*ta,const float*tb,float*tc,const __nv_bfloat16*ba,const __nv_bfloat16*bb,float*bc){
 {wmma::fragment<wmma::matrix_a,32,8,16,__half,wmma::row_major> A; wmma::fragment<wmma::matrix_b,32,8,16,__half,wmma::col_major> B; wmma::fragment<wmma::accumulator,32,8,16,float> C; wmma::fill_fragment(C,0.f); for(int k=0;k<32;k+=16){wmma::load_matrix_sync(A,a+k,32); wmma::load_matrix_sync(B,b+k,32); wmma::mma_sync(C,A,B,C);} wmma::store_matrix_sync(c,C,8,wmma::mem_row_major);}
 {wmma::fragment<wmma::matrix_a,16,16,16,signed char,wmma::row_major> A; wmma::fragment<wmma::matrix_b,16,16,16,signed char,wmma::col_major> B; wmma::fragment<wmma::accumulator,16,16,16,int> C; wmma::fill_fragment(C,1); wmma::load_matrix_sync(A,ia,16); wmma::load_matrix_sync(B,ib,16); wmma::mma_sync(C,A,B,C); wmma::store_matrix_sync(ic,C,16,wmma::mem_col_major);}
 {wmma::fragment<wmma::matrix_a,8,8,4,double,wmma::row_major> A; wmma::fragment<wmma::matrix_b,8,8,4,double,wmma::col_major> B; wmma::fragment<wmma::accumulator,8,8,4,double> C; wmma::fill_fragment(C,0.); wmma::load_matrix_sync(A,da,4); wmma::load_matrix_sync(B,db,4); wmma::mma_sync(C,A,B,C); wmma::store_matrix_sync(dc,C,8,wmma::mem_row_major);}
 {wmma::fragment<wmma::matrix_a,16,16,8,wmma::precision::tf32,wmma::row_major> A; wmma::fragment<wmma::matrix_b,16,16,8,wmma::precision::tf32,wmma::col_major> B; wmma::fragment<wmma::accumulator,16,16,8,float> C; wmma::fill_fragment(C,0.f); wmma::load_matrix_sync(A,ta,8); wmma::load_matrix_sync(B,tb,8); for(auto&e:A.x) e=wmma::__float_to_tf32(e); for(auto&e:B.x) e=wmma::__float_to_tf32(e); wmma::mma_sync(C,A,B,C); wmma::store_matrix_sync(tc,C,16,wmma::mem_row_major);}
 {wmma::fragment<wmma::matrix_a,16,16,16,__nv_bfloat16,wmma::col_major> A; wmma::fragment<wmma::matrix_b,16,16,16,__nv_bfloat16,wmma::row_major> B; wmma::fragment<wmma::accumulator,16,16,16,float> C; wmma::fill_fragment(C,0.f); wmma::load_matrix_sync(A,ba,16); wmma::load_matrix_sync(B,bb,16); wmma::mma_sync(C,A,B,C); wmma::store_matrix_sync(bc,C,16,wmma::mem_row_major);}
}'''
    a=f(32,32).astype(np.float16); b=f(8,32).astype(np.float16); ia=rng.integers(-128,128,(16,16)).astype(np.int8); ib=rng.integers(-128,128,(16,16)).astype(np.int8); da=rng.standard_normal((8,4)); db=rng.standard_normal((8,4)); ta=f(16,8); tb=f(16,8); ba=f(16,16).astype(bf16); bb=f(16,16).astype(bf16)
    D=lambda v:v.astype(np.float64)
    case("nvcc_wmma2",nvcc(src),[1],[32],[Buf("a",a),Buf("b",b),Buf("c",np.zeros((32,8),np.float32),D(a)@D(b).T,1e-5),Buf("ia",ia),Buf("ib",ib),Buf("ic",np.zeros((16,16),np.int32),(D(ia)@D(ib).T+1).T),Buf("da",da),Buf("db",db),Buf("dc",np.zeros((8,8)),da@db.T,1e-12),Buf("ta",ta),Buf("tb",tb),Buf("tc",np.zeros((16,16),np.float32),D(ta)@D(tb).T,2e-3),Buf("ba",ba),Buf("bb",bb),Buf("bc",np.zeros((16,16),np.float32),D(ba).T@D(bb),1e-5)])
ALL=dict(red=red,funcs=funcs,indirect=indirect,half2=half2,bits=bits_,libm=libm,mmas=mmas)
for k in (sys.argv[1:] or ALL):
    try: ALL[k]()
    except BaseException as e:
        import traceback; traceback.print_exc(limit=2); print("FAILED",k,repr(e)[:500])
