from lib import *
import sys, math
def f(*s, scale=1.0): return (rng.standard_normal(s)*scale).astype(np.float32)
D=lambda v:v.astype(np.float64)
H=r'''
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define NI __attribute__((noinline))
#define tid __nvvm_read_ptx_sreg_tid_x()
#define bid __nvvm_read_ptx_sreg_ctaid_x()
#define bdim __nvvm_read_ptx_sreg_ntid_x()
#define gdim __nvvm_read_ptx_sreg_nctaid_x()
#define sync __syncthreads
typedef unsigned u; typedef unsigned long long ull; typedef __SIZE_TYPE__ size_t;
'''
ARCHS=[("sm_80",False,()),("sm_90",False,()),("sm_80",True,())]
def each(name,src,grid,block,params,kernel=None,shared=0,archs=ARCHS,flags=()):
    for a,old,fl in archs:
        try: case("clang_%s_%s%s"%(name,a[3:],"_c14" if old else ""),clang(H+src,a if not(old and a=="sm_90") else "sm_86",tuple(flags)+fl,old),grid,block,params,kernel=kernel,shared=shared)
        except BaseException as e: print("FAILED",name,a,old,repr(e)[:200])
def red():
    src=r'''
extern "C" __global__ void k(const float*x,float*out,int*cnt,u*bal,float*pre,int n){ __shared__ float s[32]; float v=0; for(int i=bid*bdim+tid;i<n;i+=gdim*bdim) v+=x[i];
 float t=v; for(int o=1;o<32;o<<=1){ float q=__nvvm_shfl_sync_up_f32(~0u,t,o,0); if((tid&31)>=o) t+=q; } pre[bid*bdim+tid]=t;
 for(int o=16;o;o>>=1) v+=__nvvm_shfl_sync_bfly_f32(~0u,v,o,31); if((tid&31)==0) s[tid>>5]=v; u b=__nvvm_vote_ballot_sync(~0u,v>0); if((tid&31)==0) bal[(bid*bdim+tid)>>5]=b; sync(); if(tid==0){float q=0; for(int i=0;i<bdim/32;i++) q+=s[i]; __nvvm_atom_add_gen_f(out,q);} int c=__nvvm_bar0_popc(x[bid*bdim+tid]>0); if(tid==0) __nvvm_atom_add_gen_i(cnt,c); if(__nvvm_bar0_or(tid==5)&&__nvvm_bar0_and(1)&&tid==0) __nvvm_atom_add_gen_i(cnt+1,1);
 }'''
    n,G,B=1500,3,96; x=f(n); v=np.zeros(G*B)
    for i in range(n): v[i%(G*B)]+=x[i]
    w=v.reshape(-1,32); bal=np.where(w.sum(1)>0,0xffffffff,0)
    c=sum((x[b*B:(b+1)*B]>0).sum() for b in range(G))
    each("reduce",src,[G],[B],[Buf("x",x),Buf("out",np.zeros(1,np.float32),[D(x).sum()],1e-5),Buf("cnt",np.zeros(2,np.int32),[c,G]),Buf("bal",np.zeros(G*B//32,np.uint32),bal),Buf("pre",np.zeros(G*B,np.float32),np.cumsum(w,1).ravel(),1e-5),("s32",n)])
def funcs():
    src=r'''
struct S{float a[5];int n;double d;char c;};
NI __device__ float poly(S s,float x){float r=0;for(int i=0;i<s.n;i++) r=r*x+s.a[i];return r+(float)s.d+s.c;}
NI __device__ S mk(float a,int n){S s; for(int i=0;i<5;i++) s.a[i]=a*(i+1); s.n=n; s.d=a*.5; s.c=n; return s;}
NI __device__ int sw(int k,int x){ switch(k){case 0:return x+1;case 1:return x*3;case 2:return x^0x55;case 3:return x<<2;case 4:return ~x;case 5:return x/7;case 6:return x%7;case 7:return __builtin_popcount(x);case 8:return x?__builtin_clz(x):32;case 9: return x*x; case 10: { volatile int z=x; return z-5;} default:return -1;} }
NI __device__ void two(float x,float*s,float*c){*s=x*2;*c=x*3;}
NI __device__ void sort(float*a,int n){ for(int i=1;i<n;i++){float v=a[i];int j=i-1;while(j>=0&&a[j]>v){a[j+1]=a[j];j--;}a[j+1]=v;} }
__constant__ float tab[8]={1,2,4,8,16,32,64,128};
extern "C" __global__ void k(const float*x,const int*kk,float*y,int*z,float*w,int n){
  int i=bid*bdim+tid; if(i>=n) return;
  y[i]=poly(mk(x[i],1+(i%5)),x[i]*.25f)*tab[i&7]; z[i]=sw(kk[i],i*1234567); float s,c; two(x[i],&s,&c); w[2*i]=s; w[2*i+1]=c;
  float loc[9]; for(int j=0;j<9;j++) loc[j]=x[(i+j)%n]; sort(loc,9); y[i]+=loc[4]; }'''
    n=150; x=f(n); k=rng.integers(0,12,n).astype(np.int32); X=D(x); y=np.zeros(n); z=np.zeros(n,np.int64)
    for i in range(n):
        a=[X[i]*(j+1) for j in range(5)]; r=0; nn=1+i%5
        for j in range(nn): r=r*(X[i]*.25)+a[j]
        y[i]=(r+X[i]*.5+nn)*2.0**(i&7)+np.median([X[(i+j)%n] for j in range(9)])
        def s32(t): t&=0xffffffff; return t-2**32 if t>=2**31 else t
        v=s32(i*1234567); u=v&0xffffffff
        z[i]={0:v+1,1:s32(v*3),2:v^0x55,3:s32(v<<2),4:~v,5:int(v/7),6:v-7*int(v/7),7:bin(u).count("1"),8:32-u.bit_length(),9:s32(v*v),10:v-5}.get(int(k[i]),-1)
    w=np.stack([X*2,X*3],1).ravel()
    P=lambda:[Buf("x",x),Buf("kk",k),Buf("y",np.zeros(n,np.float32),y,1e-5),Buf("z",np.zeros(n,np.int32),z),Buf("w",np.zeros(2*n,np.float32),w,1e-6),("s32",n)]
    each("funcs",src,[2],[96],P())
    each("funcs_O0",src,[2],[96],P(),archs=[("sm_80",False,("-O0",)),("sm_80",True,("-O0",)),("sm_80",False,("-O1","-g"))])
def hgemm():
    src=r'''
typedef _Float16 h; typedef h h2 __attribute__((ext_vector_type(2))); 
extern "C" __global__ void k(const h*A,const h*B,float*C,h*E,int M,int N,int K){ __shared__ __attribute__((aligned(16))) h sa[32*16],sb[32*16]; float acc[2][4]={}; int lane=tid&31,wp=tid>>5; 
 for(int k0=0;k0<K;k0+=16){ for(int i=tid;i<512/8;i+=64){ int r=i/2,c=(i&1)*8; u d=(u)(size_t)(__attribute__((address_space(3))) void*)(sa+r*16+c); asm volatile("cp.async.ca.shared.global [%0],[%1],16;"::"r"(d),"l"(A+(bid*32+r)*K+k0+c)); d=(u)(size_t)(__attribute__((address_space(3))) void*)(sb+r*16+c); asm volatile("cp.async.cg.shared.global [%0],[%1],16;"::"r"(d),"l"(B+r*K+k0+c)); } asm volatile("cp.async.commit_group;\ncp.async.wait_group 0;":::"memory"); sync();
  u a[4],b[2]; u p=(u)(size_t)(__attribute__((address_space(3))) void*)(sa+(wp*16+(lane&15))*16+(lane>>4)*8); asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];":"=r"(a[0]),"=r"(a[1]),"=r"(a[2]),"=r"(a[3]):"r"(p));
  for(int j=0;j<2;j++){ u q=(u)(size_t)(__attribute__((address_space(3))) void*)(sb+(j*8+(lane&7))*16+((lane>>3)&1)*8); asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1},[%2];":"=r"(b[0]),"=r"(b[1]):"r"(q)); asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};":"+f"(acc[j][0]),"+f"(acc[j][1]),"+f"(acc[j][2]),"+f"(acc[j][3]):"r"(a[0]),"r"(a[1]),"r"(a[2]),"r"(a[3]),"r"(b[0]),"r"(b[1])); } sync(); }
 for(int j=0;j<2;j++) for(int i=0;i<4;i++){ int r=bid*32+wp*16+lane/4+8*(i/2),c=j*8+lane%4*2+i%2; C[r*16+c]=acc[j][i]; h2 v={(h)acc[j][i],(h)1.5}; v=v*v+(h2){(h)0.25,(h)-0.5}; E[(r*16+c)*2]=v.x; E[(r*16+c)*2+1]=v.y; } }'''
    M,N,K=64,16,48; a=f(M,K,scale=.5).astype(np.float16); b=np.zeros((32,K),np.float16); b[:]=f(32,K,scale=.5); c=D(a)@D(b[:16]).T; c16=D(c.astype(np.float16)); e=np.stack([c16*c16+.25,np.full_like(c,1.75)],-1)
    each("hgemm",src,[2],[64],[Buf("A",a),Buf("B",b),Buf("C",np.zeros((M,16),np.float32),c,1e-5),Buf("E",np.zeros((M,16,2),np.float16),e,2e-3),("s32",M),("s32",N),("s32",K)])
def ints():
    src=r'''
typedef __int128 i128; typedef unsigned __int128 u128;
extern "C" __global__ void k(const long long*a,const long long*b,long long*o,int*p,short*q,signed char*c,u128*w,float*fl,double*db,int n){ int i=bid*bdim+tid; if(i>=n)return; long long x=a[i],y=b[i]; 
 o[i]=x/y; o[n+i]=x%y; o[2*n+i]=(ull)x/(ull)y; o[3*n+i]=(ull)x%(ull)y; o[4*n+i]=__builtin_popcountll(x)*100+__builtin_clzll(x|1)*10000+__builtin_ctzll(x|1ull<<63); o[5*n+i]=(long long)__builtin_bitreverse64(x); o[6*n+i]=((i128)x*y)>>64; o[7*n+i]=x<<(y&63); o[8*n+i]=__builtin_rotateleft64(x,y&63); bool ov=__builtin_add_overflow(x,y,&o[9*n+i]); p[i]=ov; p[n+i]=__builtin_bswap32((int)x); p[2*n+i]=(int)x/(int)(y|1); p[3*n+i]=(int)x%(int)(y|1); p[4*n+i]=__builtin_rotateleft32(x,y&31); p[5*n+i]=(int)x>y?(int)x:(int)y; p[6*n+i]=__builtin_abs((int)x); p[7*n+i]=__builtin_elementwise_min((int)x,(int)y); p[8*n+i]=__builtin_elementwise_add_sat((int)x,(int)y); p[9*n+i]=__builtin_bitreverse32(x);
 q[i]=(short)x*(short)y; q[n+i]=(short)x/((short)y|1); c[i]=(signed char)x*(signed char)y; c[n+i]=(signed char)((signed char)x>>2); w[i]=(u128)(ull)x*(ull)y+(u128)x; 
 fl[i]=(float)x; fl[n+i]=(float)(ull)x; fl[2*n+i]=(int)x/3.f; fl[3*n+i]=__builtin_sqrtf((float)(u)x); fl[4*n+i]=__builtin_floorf((int)x*.37f); fl[5*n+i]=__builtin_fmaf((int)x,2.f,(int)y); fl[6*n+i]=__builtin_fabsf((float)(int)x); fl[7*n+i]=__builtin_fmaxf((int)x,(int)y); fl[8*n+i]=(int)x/(float)(int)y; db[i]=(double)x/(double)y; db[n+i]=__builtin_sqrt((double)(ull)x); db[2*n+i]=__builtin_rint((int)x*.37); }'''
    n=64; a=rng.integers(-2**62,2**62,n); b=rng.integers(-2**40,2**40,n)|1; a[:5]=[0,1,-1,2**62,-2**62]
    def s(v,w=64): v&=(1<<w)-1; return v-(1<<w) if v>>(w-1) else v
    tq=lambda x,y:(abs(x)//abs(y))*(1 if (x<0)==(y<0) else -1)
    O=[];P=[];Q=[];C=[];W=[]
    M=2**64-1
    for x,y in zip(a.tolist(),b.tolist()):
        ux,uy=x&M,y&M; q=tq(x,y); rot=lambda v,k,w:((v<<k)|(v>>(w-k)))&((1<<w)-1) if k else v
        O.append([s(v) for v in [q,x-q*y,ux//uy,ux%uy,bin(ux).count("1")*100+(64-(ux|1).bit_length())*10000+(((ux|1<<63)&-(ux|1<<63)).bit_length()-1),int(format(ux,"064b")[::-1],2),(x*y)>>64,ux<<(uy&63),rot(ux,uy&63,64),x+y]])
        lx,ly=s(x,32),s(y,32); q2=tq(lx,ly|1); u32=x&0xffffffff
        P.append([s(v,32) for v in [int(not -2**63<=x+y<2**63),int.from_bytes(u32.to_bytes(4,"little"),"big"),q2,lx-q2*(ly|1),rot(u32,uy&31,32),lx if lx>y else ly,abs(lx),min(lx,ly),max(-2**31,min(2**31-1,lx+ly)),int(format(u32,"032b")[::-1],2)]])
        sx,sy=s(x,16),s(y,16); Q.append([s(sx*sy,16),tq(sx,sy|1)]); C.append([s(s(x,8)*s(y,8),8),s(x,8)>>2]); W.append((ux*uy+(x&(2**128-1)))&(2**128-1))
    O,P,Q,C=[np.array(v).T for v in(O,P,Q,C)]; lx=a.astype(np.int32); ly=b.astype(np.int32); F32=np.float32
    fl=np.stack([D(a),D(a.view(np.uint64)),D(lx.astype(F32))/3,np.sqrt(D(lx.view(np.uint32).astype(F32))),np.floor((lx.astype(F32)*F32(.37))),D(lx.astype(F32))*2+D(ly.astype(F32)),abs(D(lx)),np.maximum(lx,ly),D(lx.astype(F32))/D(ly.astype(F32))]); db=np.stack([D(a)/D(b),np.sqrt(D(a.view(np.uint64))),np.rint(lx*.37)])
    w=np.array([[v&M,v>>64] for v in W],np.uint64)
    each("ints",src,[1],[64],[Buf("a",a),Buf("b",b),Buf("o",np.zeros(O.shape,np.int64),O),Buf("p",np.zeros(P.shape,np.int32),P),Buf("q",np.zeros(Q.shape,np.int16),Q),Buf("c",np.zeros(C.shape,np.int8),C),Buf("w",np.zeros(w.shape,np.uint64),w),Buf("fl",np.zeros(fl.shape,F32),fl,1e-6),Buf("db",np.zeros(db.shape),db,1e-15),("s32",n)],archs=ARCHS[:2])
def atom():
    src=r'''
extern "C" __global__ void k(const float*x,const int*ix,float*af,int*ai,u*au,ull*al,u*inc,u*dec,float*mx,int*lock,double*prot,int*seq,int n){ int i=bid*bdim+tid; if(i>=n)return; int k=ix[i]; 
 __nvvm_atom_add_gen_f(af+k,x[i]); __atomic_fetch_add(ai+k,3,__ATOMIC_RELAXED); __atomic_fetch_or(au+k,1u<<(i&31),__ATOMIC_RELAXED); __atomic_fetch_max(al+k,(ull)i<<20,__ATOMIC_SEQ_CST); __nvvm_atom_inc_gen_ui(inc+k,3); __nvvm_atom_dec_gen_ui(dec+k,3);
 u old=__builtin_bit_cast(u,*(volatile float*)(mx+k)),as; do{as=old; if(__builtin_bit_cast(float,as)>=x[i])break; u e=as; __atomic_compare_exchange_n((u*)(mx+k),&e,__builtin_bit_cast(u,x[i]),false,__ATOMIC_RELAXED,__ATOMIC_RELAXED); old=e;}while(old!=as);
 bool done=false; while(!done){ if(__nvvm_atom_cas_gen_i(lock,0,1)==0){ __nvvm_membar_gl(); *prot=*prot+(double)x[i]; __nvvm_membar_gl(); *(volatile int*)lock=0; done=true; } }
 int t=__atomic_fetch_add(seq,1,__ATOMIC_ACQ_REL); if(t==n-1) seq[1]=(int)((volatile double*)prot)[0]*0+7; }'''
    n,b=120,9; x=(rng.integers(-32,32,n)/16).astype(np.float32); ix=rng.integers(0,b,n).astype(np.int32); s=np.zeros(b); np.add.at(s,ix,D(x)); c=np.bincount(ix,minlength=b); au=np.zeros(b,np.uint32); al=np.zeros(b,np.uint64); mx=np.full(b,-9,np.float32)
    for i in range(n): au[ix[i]]|=np.uint32(1<<(i&31)); al[ix[i]]=max(al[ix[i]],np.uint64(i<<20)); mx[ix[i]]=max(mx[ix[i]],x[i])
    z=lambda t,v=0:np.full(b,v,t)
    each("atomics",src,[2],[64],[Buf("x",x),Buf("ix",ix),Buf("af",z(np.float32),s,1e-6),Buf("ai",z(np.int32),3*c),Buf("au",z(np.uint32),au),Buf("al",z(np.uint64),al),Buf("inc",z(np.uint32),c%4),Buf("dec",z(np.uint32),(-c)%4),Buf("mx",z(np.float32,-9),mx),Buf("lock",np.zeros(1,np.int32),[0]),Buf("prot",np.zeros(1),[D(x).sum()],1e-12),Buf("seq",np.zeros(2,np.int32),[n,7]),("s32",n)])
def vec():
    src=r'''
typedef float f4 __attribute__((ext_vector_type(4))); typedef float f8 __attribute__((ext_vector_type(8))); typedef __bf16 bf; typedef short s4 __attribute__((ext_vector_type(4))); typedef unsigned char uc4 __attribute__((ext_vector_type(4)));
extern "C" __global__ void k(const f4*a,f4*b,const uc4*p,s4*q,const bf*h,float*o,bf*ob,const bool*m,bool*mo,int n){ int i=bid*bdim+tid; if(i>=n)return; f4 v=a[i]; b[i]=v.wzyx*2.f+v; s4 r=__builtin_convertvector(p[i],s4); q[i]=r*r-r.yxwz; o[i]=(float)h[i]*3.f; ob[i]=(bf)(v.x+v.y); mo[i]=m[i]^(v.x>0)|(v.y>1&&v.z<0); __shared__ f4 s[64]; s[tid]=v; sync(); f4 t=s[63-tid]; o[n+i]=t.x+t.w; extern __shared__ char dyn[]; ((double*)dyn)[tid]=t.y; sync(); o[2*n+i]=((double*)dyn)[tid^1]; }'''
    n=128; a=f(n,4); p=rng.integers(0,256,(n,4)).astype(np.uint8); h=f(n).astype(bf16); m=rng.integers(0,2,n).astype(np.uint8)
    t=a.reshape(2,64,4)[:,::-1].reshape(n,4); r=p.astype(np.int16)
    o=np.stack([D(h)*3,D(t[:,0])+t[:,3],t[np.arange(n)^1,1]]); mo=(m^(a[:,0]>0))|((a[:,1]>1)&(a[:,2]<0))
    q=(r.astype(int)*r-r[:,[1,0,3,2]]).astype(np.int16)
    each("vec",src,[2],[64],[Buf("a",a),Buf("b",np.zeros_like(a),a[:,::-1]*2+a,1e-6),Buf("p",p),Buf("q",np.zeros((n,4),np.int16),q),Buf("h",h),Buf("o",np.zeros((3,n),np.float32),o,1e-6),Buf("ob",np.zeros(n,bf16),(a[:,0]+a[:,1]),1e-2),Buf("m",m),Buf("mo",np.zeros(n,np.uint8),mo),("s32",n)],shared=512,archs=ARCHS[:2])
def ind():
    src=r'''
NI __device__ int fib(int n){ return n<2?n:fib(n-1)+fib(n-2); }
NI __device__ float f0(float x){return x*2;} NI __device__ float f1(float x){return x+1;} NI __device__ float f2(float x){return x*x;}
typedef float(*F)(float); 
extern "C" __global__ void k(const float*x,float*y,int*z,int n){ int i=tid; if(i>=n)return; F t[3]={f0,f1,f2}; y[i]=t[i%3](x[i]); z[i]=fib(i%10); }'''
    n=50; x=f(n); X=D(x); i=np.arange(n); fib=[0,1]
    for j in range(10): fib.append(fib[-1]+fib[-2])
    each("indirect",src,[1],[64],[Buf("x",x),Buf("y",np.zeros(n,np.float32),np.where(i%3==0,X*2,np.where(i%3==1,X+1,X*X)),1e-6),Buf("z",np.zeros(n,np.int32),[fib[j%10] for j in i]),("s32",n)])
ALL=dict(red=red,funcs=funcs,hgemm=hgemm,ints=ints,atom=atom,vec=vec,ind=ind)
for k in (sys.argv[1:] or ALL):
    try: ALL[k]()
    except BaseException as e:
        import traceback; traceback.print_exc(limit=2); print("FAILED",k,repr(e)[:500])
