# Writes single-op models with inputs and expected outputs, one folder each in the layout of
# onnx's node tests: python3 generate.py DIR && tar czf op-types.tgz -C DIR nodedata
# Expected outputs are onnx's ReferenceEvaluator's, and for com.microsoft onnxruntime's.
# Left out is what the two do not define or do with more roundings than the operator's text
# asks for: float16 Gelu, Mish, Gemm and ReduceLogSumExp (the reference rounds every step), means of
# no integers, sums of squares of 32-bit integers (the reference widens their type).
import numpy as np, onnx, ml_dtypes, os, shutil, sys, warnings
from onnx import helper as h, numpy_helper as nh, TensorProto as T, defs
from onnx.reference import ReferenceEvaluator
warnings.filterwarnings('ignore')
rng=np.random.default_rng(7)
OUT=sys.argv[1]+'/nodedata'; shutil.rmtree(OUT,ignore_errors=True); os.makedirs(OUT)
NP={'float':np.float32,'double':np.float64,'float16':np.float16,'bfloat16':ml_dtypes.bfloat16,'int8':np.int8,'int16':np.int16,'int32':np.int32,'int64':np.int64,'uint8':np.uint8,'uint16':np.uint16,'uint32':np.uint32,'uint64':np.uint64,'bool':np.bool_,'string':object,'complex64':np.complex64,'complex128':np.complex128,
'float8e4m3fn':ml_dtypes.float8_e4m3fn,'float8e4m3fnuz':ml_dtypes.float8_e4m3fnuz,'float8e5m2':ml_dtypes.float8_e5m2,'float8e5m2fnuz':ml_dtypes.float8_e5m2fnuz,'float8e8m0':ml_dtypes.float8_e8m0fnu,'float4e2m1':ml_dtypes.float4_e2m1fn,'int4':ml_dtypes.int4,'uint4':ml_dtypes.uint4,'int2':ml_dtypes.int2,'uint2':ml_dtypes.uint2}
F=['float','double','float16','bfloat16']; SI=['int8','int16','int32','int64']; UI=['uint8','uint16','uint32','uint64']; I=SI+UI; N=F+I
W=['int32','int64','uint32','uint64']; ANY=N+['bool','string','complex64','complex128']; NARROW=['float8e4m3fn','float8e4m3fnuz','float8e5m2','float8e5m2fnuz','float8e8m0','float4e2m1','int4','uint4','int2','uint2']
def data(t,shape,lo=-4,hi=4,nz=False):
    shape=tuple(shape)
    if t=='bool': return rng.random(shape)<0.5
    if t=='string': return np.array([f's{v}' for v in rng.integers(0,9,int(np.prod(shape)))],dtype=object).reshape(shape)
    if t.startswith('complex'): return (rng.integers(-3,4,shape)+1j*rng.integers(-3,4,shape)).astype(NP[t])
    if t in F[:2]: a=rng.uniform(lo,hi,shape).astype(NP[t])
    elif t in F: a=np.asarray(np.round(rng.uniform(lo,hi,shape)*8)/8).astype(NP[t]) # short sums are exact: the reference rounds every step
    elif t.startswith('float8') or t.startswith('float4'): return np.abs(rng.integers(-2,4,shape)).astype(np.float32).astype(NP[t])
    else:
        l=0 if t.startswith('u') else int(lo)
        if t in('int2','uint2','int4','uint4'): l=max(l,-2); hi=min(hi,2)
        a=rng.integers(l,int(hi)+1,shape).astype(np.int64).astype(NP[t])
    if nz: a=np.where(a==0,np.ones_like(a),a)
    return a
cnt={}
fails=[]
def case(op,ins,attrs={},nout=1,domain='',expected=None,tag=''):
    k=cnt.get(op,0); cnt[op]=k+1
    name=f'test_{op.lower()}_{k}{tag}'
    inn=[f'x{i}' if a is not None else '' for i,a in enumerate(ins)]
    outn=[f'y{i}' for i in range(nout)]
    node=h.make_node(op,inn,outn,domain=domain,**attrs)
    vi=[h.make_tensor_value_info(f'x{i}',nh.from_array(np.asarray(a)).data_type,np.asarray(a).shape) for i,a in enumerate(ins) if a is not None]
    g=h.make_graph([node],'g',vi,[h.make_empty_tensor_value_info(o) for o in outn])
    m=h.make_model(g,opset_imports=[h.make_opsetid('',28 if not domain else 21)]+([h.make_opsetid(domain,1)] if domain else []),ir_version=13 if not domain else 10)
    feeds={f'x{i}':np.asarray(a) for i,a in enumerate(ins) if a is not None}
    try:
        if expected is not None: res=expected
        elif domain:
            import onnxruntime as ort
            # types for outputs are needed by ort
            res=ort.InferenceSession(m.SerializeToString(),providers=['CPUExecutionProvider']).run(None,feeds)
        else: res=ReferenceEvaluator(m).run(None,feeds)
    except Exception as e:
        fails.append((name,[getattr(a,'dtype',None) for a in ins],attrs,str(e)[:120])); return
    d=f'{OUT}/{name}'; os.makedirs(d+'/test_data_set_0')
    m2=m
    for o,r in zip(outn,res):
        pass
    del m.graph.output[:]
    try: [nh.from_array(np.asarray(r)) for r in res]
    except Exception as e: fails.append((name,'output',str(e)[:80])); shutil.rmtree(d); return
    for o,r in zip(outn,res):
        m.graph.output.append(h.make_tensor_value_info(o,nh.from_array(np.asarray(r)).data_type,np.asarray(r).shape))
    open(d+'/model.onnx','wb').write(m.SerializeToString())
    j=0
    for i,a in enumerate(ins):
        if a is None: continue
        open(f'{d}/test_data_set_0/input_{j}.pb','wb').write(nh.from_array(np.asarray(a),f'x{i}').SerializeToString()); j+=1
    for i,r in enumerate(res):
        open(f'{d}/test_data_set_0/output_{i}.pb','wb').write(nh.from_array(np.asarray(r),f'y{i}').SerializeToString())
i64=lambda *v: np.array(v,dtype=np.int64)
BC=[((2,3),(2,3)),((2,3),(3,)),((2,1,3),(4,1)),((),(2,2)),((0,3),(1,3))]
for op in ['Add','Sub','Mul','Div','Mod','Less','Greater','LessOrEqual','GreaterOrEqual','Equal','Max','Min']:
    for t in N:
        for s1,s2 in BC: case(op,[data(t,s1),data(t,s2,nz=True)])
for t in ['bool','string']: case('Equal',[data(t,(2,3)),data(t,(3,))])
for t in N: case('Mod',[data(t,(3,4)),data(t,(4,),nz=True)],dict(fmod=1))
for t in F+['int32','int64']:
    for u in N: case('Pow',[data(t,(2,3),1,4),data(u,(3,),0,3)])
for op in ['BitwiseAnd','BitwiseOr','BitwiseXor']:
    for t in I: case(op,[data(t,(2,3),-50,50),data(t,(3,),-50,50)])
for t in I: case('BitwiseNot',[data(t,(5,),-100,100)])
for t in I:
    for d in ['LEFT','RIGHT']: case('BitShift',[data(t,(6,),-100,100),np.array([0,1,2,3,4,5],dtype=NP[t])],dict(direction=d))
for t in F: 
    for op in ['Abs','Neg','Ceil','Floor','Round','Sqrt','Reciprocal','Exp','Log','Erf','Sin','Cos','Tan','Asin','Acos','Atan','Sinh','Cosh','Tanh','Asinh','Acosh','Atanh','Sigmoid','Relu','Softplus','Softsign','Mish','HardSwish','LeakyRelu','Elu','Celu','Selu','HardSigmoid','ThresholdedRelu','Gelu','Swish','IsNaN','IsInf','Sign','Identity','Shrink']:
        lo,hi=(0.1,0.9) if op in('Asin','Acos','Atanh','Sqrt','Log') else ((1.1,4) if op=='Acosh' else (-4,4))
        if t in F[2:] and op in ('Gelu','Mish'): continue
        case(op,[data(t,(2,5),lo,hi)])
    if t in F[:2]: case('Gelu',[data(t,(7,))],dict(approximate='tanh'))
    case('Elu',[data(t,(7,))],dict(alpha=2.)); case('Celu',[data(t,(7,))],dict(alpha=0.5)); case('Swish',[data(t,(7,))],dict(alpha=1.5))
    case('SwiGLU',[data(t,(2,3)),data(t,(2,3))],dict(alpha=1.2)); case('PRelu',[data(t,(2,3)),data(t,(3,))])
    case('Sum',[data(t,(2,3)),data(t,(3,)),data(t,(2,1))]); case('Mean',[data(t,(2,3)),data(t,(3,)),data(t,(2,1))])
    if t in F[:2]: case('Det',[data(t,(2,3,3))])
for t in I:
    for op in ['Abs','Sign']: case(op,[data(t,(2,5))])
for t in SI: case('Neg',[data(t,(4,))]); case('Relu',[data(t,(4,))])
for t in W: case('PRelu',[data(t,(2,3)),data(t,(3,))])
for t in N: case('Clip',[data(t,(2,5)),data(t,(),0,1),data(t,(),2,3)]); case('Clip',[data(t,(2,5)),None,data(t,(),2,3)]); case('Clip',[data(t,(2,5)),data(t,(),3,4),data(t,(),1,2)])
for op in ['And','Or','Xor']: case(op,[data('bool',(2,3)),data('bool',(3,))])
case('Not',[data('bool',(2,3))])
for t in ANY: case('Where',[data('bool',(2,1)),data(t,(2,3)),data(t,(3,))])
CT=N+['bool','string']+NARROW
for a in CT:
    for b in CT:
        if a==b: continue
        if a=='string': x=np.array(['1','0','3','1'],dtype=object).reshape(2,2)
        elif a in UI+['uint4','uint2'] or b in UI+['uint4','uint2','bool']: x=data(a,(2,3),0,2)
        else: x=data(a,(2,3))
        if b=='float8e8m0': 
            if a=='string': continue
            x=np.abs(x.astype(np.float32)).astype(NP[a])
        if a=='string' and b=='bool': continue
        if b=='string' and a in NARROW+['float16','bfloat16']: continue
        bn={'float8e4m3fn':17,'float8e4m3fnuz':18,'float8e5m2':19,'float8e5m2fnuz':20,'uint4':21,'int4':22,'float4e2m1':23,'float8e8m0':24,'uint2':25,'int2':26,'float':1,'double':11,'float16':10,'bfloat16':16,'bool':9,'string':8,'int8':3,'int16':5,'int32':6,'int64':7,'uint8':2,'uint16':4,'uint32':12,'uint64':13}[b]
        case('Cast',[x],dict(to=bn),tag=f'_{a}_{b}')
big=np.array([0,-0.,1e9,-1e9,np.inf,-np.inf,np.nan,0.001,-0.0001,447,449,464,465,480,57344,61439,61440,65536,240,247,248,250,2**-9,2**-10,2**-11,1e-8,3e-6,1.0625,1.1875],dtype=np.float32)
for b in [17,18,19,20]:
    for sat in (0,1):
        case('Cast',[big],dict(to=b,saturate=sat)); case('Cast',[big.astype(np.float64)],dict(to=b,saturate=sat)); 
pos=np.array([0,1e-45,1e-38,2e-39,1,1.4,1.5,1.6,3,5.9,6,2**127,1.5*2**127,3.4e38,np.inf,np.nan],dtype=np.float32)
for mode in ['up','down','nearest']:
    for sat in (0,1): case('Cast',[pos],dict(to=24,saturate=sat,round_mode=mode))
case('Cast',[big],dict(to=23)); case('Cast',[np.array([0.24,0.25,0.26,.74,.75,.76,1.25,1.75,2.5,3.5,5,5.1,7,-0.2,-1.3],dtype=np.float32)],dict(to=23))
f64=rng.standard_normal(300)*np.exp(rng.uniform(-12,10,300)); case('Cast',[f64],dict(to=10)); case('Cast',[f64],dict(to=16)); case('Cast',[f64],dict(to=1))
case('Cast',[np.array([300,-129,65536,-1,2**33+5],dtype=np.int64)],dict(to=3)); case('Cast',[np.array([300,-129,65536,-1,2**33+5],dtype=np.int64)],dict(to=2)); case('Cast',[np.array([17,-9,8,7,-1],dtype=np.int64)],dict(to=22)); case('Cast',[np.array([17,9,8,7,1],dtype=np.int64)],dict(to=21))
case('Cast',[np.array([1.5,1e-5,1e17,0.1,np.nan,-np.inf,-0.0],dtype=np.float32)],dict(to=8)); case('Cast',[np.array([1.5,1e-5,1e17,0.1,123456789],dtype=np.float64)],dict(to=8))
case('Cast',[np.array(['1e5','+INF','nan','-inf','0.1',' 3 '],dtype=object)],dict(to=1))
for t in N+['bool']:
    case('CastLike',[data(t,(3,),0,3),data('float',(1,))])
RT={'ReduceSum':F+W,'ReduceMean':F+W,'ReduceProd':F+W,'ReduceMax':F+W+['int8','uint8','bool'],'ReduceMin':F+W+['int8','uint8','bool'],'ReduceL1':F+W,'ReduceL2':F+W,'ReduceSumSquare':F+W,'ReduceLogSum':F,'ReduceLogSumExp':F}
for op,ts in RT.items():
    for t in ts:
        lo=0.1 if op=='ReduceLogSum' else -3
        for s,ax,kd in [((2,3,4),(1,),1),((2,3,4),(0,-1),0),((3,),None,0),((2,3),(),1),((),None,1),((2,0,3),(1,),1)]:
            if t=='bool' and 0 in s or t in I and op=='ReduceMean' and 0 in s: continue
            if t.endswith('int32') and op=='ReduceSumSquare' or t in F[2:] and op=='ReduceLogSumExp': continue
            case(op,[data(t,s,lo,3)]+([i64(*ax)] if ax is not None else []),dict(keepdims=kd))
        if not (t.endswith('int32') and op=='ReduceSumSquare'): case(op,[data(t,(2,3),lo,3)],dict(noop_with_empty_axes=1))
for t in N:
    for op in ['ArgMax','ArgMin']:
        for ax,kd,sl in [(0,1,0),(-1,0,0),(1,1,1)]: case(op,[data(t,(3,4))],dict(axis=ax,keepdims=kd,select_last_index=sl))
    for lg in (0,1): case('TopK',[data(t,(3,5),-20,20),i64(3)],dict(axis=-1,largest=lg),2); case('TopK',[data(t,(3,5),-20,20),i64(2)],dict(axis=0,largest=lg),2)
    case('Range',[np.array(1,dtype=NP[t]),np.array(9,dtype=NP[t]),np.array(2,dtype=NP[t])]) if t in F+['int16','int32','int64'] else None
for t in F+W:
    for op in ['CumSum','CumProd']:
        for ex,rv in [(0,0),(1,0),(0,1),(1,1)]: case(op,[data(t,(2,3,4),-2,2),np.array(-2,dtype=np.int32)],dict(exclusive=ex,reverse=rv))
for t in ANY:
    x=data(t,(3,4,5))
    case('Transpose',[x],dict(perm=[2,0,1])); case('Reshape',[x,i64(0,-1)]); case('Reshape',[x,i64(5,2,-1)]); case('Flatten',[x],dict(axis=2)); case('Flatten',[x],dict(axis=-3)); case('Flatten',[x],dict(axis=3))
    case('Squeeze',[data(t,(1,3,1)),i64(-1)]); case('Squeeze',[data(t,(1,3,1))]); case('Unsqueeze',[x,i64(-1,0)])
    case('Concat',[data(t,(2,3)),data(t,(2,0)),data(t,(2,1))],dict(axis=-1)); case('Split',[x,i64(1,0,3)],dict(axis=1),3); case('Split',[x],dict(axis=-1,num_outputs=3),3)
    case('Slice',[x,i64(1,-1),i64(3,-100),i64(0,2),i64(1,-2)]); case('Slice',[x,i64(10),i64(20),i64(1)]); case('Slice',[x,i64(-2),i64(2**63-1),i64(-1)]); case('Slice',[x,i64(2**62),i64(-2**63),i64(1),i64(-1)])
    case('Gather',[x,np.array([[0,-1],[2,1]])],dict(axis=0)); case('Gather',[x,np.array(1,dtype=np.int32)],dict(axis=1)); case('GatherElements',[x,rng.integers(-4,4,(3,6,5))],dict(axis=1)); case('GatherND',[x,rng.integers(0,3,(2,2))]); case('GatherND',[x,rng.integers(0,3,(3,2,1))],dict(batch_dims=1))
    case('ScatterElements',[x,np.array([[[0,1,2,3,1]]]),data(t,(1,1,5))],dict(axis=1)); case('ScatterND',[x,i64(0,2).reshape(2,1),data(t,(2,4,5))])
    for mode in ['constant','edge','reflect','wrap']:
        case('Pad',[data(t,(3,4)),i64(1,2,0,1)]+([data('string',())] if t=='string' and mode=='constant' else []),dict(mode=mode))
    case('Pad',[data(t,(3,4)),i64(-1,2,0,-1),data(t,())]); case('Pad',[data(t,(3,4)),i64(3,5),None,np.array([-1],dtype=np.int32)],dict(mode='wrap')); case('Pad',[data(t,(3,4)),i64(5,7),None,i64(1)],dict(mode='reflect'))
    case('Tile',[data(t,(2,3)),i64(2,3)]); case('Expand',[data(t,(3,1)),i64(2,1,4)]); case('ConstantOfShape',[i64(2,3)],dict(value=nh.from_array(data(t,(1,))))) if t!='string' else None
    if t!='string': case('Trilu',[data(t,(2,3,4)),np.array(1)],dict(upper=0)); case('Trilu',[data(t,(3,4)),np.array(-1)])
    case('DepthToSpace',[data(t,(2,8,2,3))],dict(blocksize=2,mode='CRD')); case('DepthToSpace',[data(t,(1,18,2,3))],dict(blocksize=3)); case('SpaceToDepth',[data(t,(2,2,4,6))],dict(blocksize=2)); case('SpaceToDepth',[data(t,(2,2,4,6))],dict(blocksize=2,mode='CRD'))
    case('Compress',[x,np.array([True,False,True])],dict(axis=1)); case('Compress',[x,np.array([True,False,True])]); case('ReverseSequence',[data(t,(4,3,2)),i64(1,0,4)],dict(time_axis=0,batch_axis=1))
    case('NonZero',[data(t,(2,3))]) if t!='string' else None
    case('OneHot',[np.array([[0,-1],[2,7]]),np.array(3),data(t,(2,))],dict(axis=1)) if t not in('string','bool') else None
    case('TensorScatter',[data(t,(2,2,4,3)),data(t,(2,2,2,3)),i64(3,1)],dict(mode='circular')); case('TensorScatter',[data(t,(2,4,3)),data(t,(2,2,3))])
    if not t.startswith('complex'): case('Unique',[data(t,(3,4))],{},4); case('Unique',[data(t,(4,2),0,1)],dict(axis=0),4) if t!='string' else None
    case('Shape',[x],dict(start=-2)); case('Shape',[x],dict(start=1,end=-1)); case('Size',[x]); case('Identity',[x])
for t in N:
    for red in ['add','mul','max','min']:
        case('ScatterElements',[data(t,(3,4),0,3),np.array([[0,1,0,-1],[2,1,0,0]]),data(t,(2,4),0,3)],dict(reduction=red)); case('ScatterND',[data(t,(3,4),0,3),np.array([[0],[2],[0]]),data(t,(3,4),0,3)],dict(reduction=red))
    case('EyeLike',[data(t,(3,4))],dict(k=-1)); 
for t in NARROW:
    for op,ins,at in [('Reshape',[data(t,(2,6)),i64(3,4)],{}),('Transpose',[data(t,(2,6))],{}),('Identity',[data(t,(3,))],{}),('Shape',[data(t,(3,))],{}),('Flatten',[data(t,(3,2))],{})]: case(op,ins,at)
MT=['float','double','float16','bfloat16']+W
for t in MT:
    for s1,s2 in [((3,4),(4,5)),((4,),(4,)),((4,),(2,4,3)),((2,3,4),(4,)),((2,1,3,4),(5,4,2)),((0,4),(4,3)),((3,0),(0,4)),((70,130),(130,30))]:
        if s1[0]==70 and t!='float': continue
        case('MatMul',[data(t,s1,0,1) if t in F else data(t,s1),data(t,s2,0,1) if t in F else data(t,s2)])
    for ta,tb in [(0,0),(1,0),(0,1),(1,1)]:
        a=data(t,(4,3) if ta else (3,4)); b=data(t,(5,4) if tb else (4,5))
        if t in F[:2]: case('Gemm',[a,b,data(t,(3,1))],dict(transA=ta,transB=tb,alpha=.5,beta=2.)); case('Gemm',[a,b],dict(transA=ta,transB=tb))
for t in N:
    for eq,ss in [('bij,bjk->bik',[(2,3,4),(2,4,5)]),('ij->ji',[(2,3)]),('ii->i',[(3,3)]),('ii',[(3,3)]),('...ij,...jk->...ik',[(2,1,3,4),(5,4,2)]),('ij,kj',[(2,3),(4,3)]),('i,j,k->kij',[(2,),(3,),(4,)]),('...->...',[(2,3)]),('bhwc,hkc->bhwk',[(1,2,3,4),(2,5,4)])]: case('Einsum',[data(t,s,-2,2) for s in ss],dict(equation=eq))
for a in ['int8','uint8']:
    for b in ['int8','uint8']:
        case('MatMulInteger',[data(a,(3,4),-99,99),data(b,(4,5),-99,99),data(a,()),data(b,())]); case('MatMulInteger',[data(a,(3,4),-99,99),data(b,(4,5),-99,99)])
        case('QLinearMatMul',[data(a,(3,4),-99,99),np.float32(.02),data(a,()),data(b,(4,5),-99,99),np.float32(.03),data(b,()),np.float32(.05),data(a,())])
QT=['int8','uint8','int16','uint16','int4','uint4','int2','uint2','float8e4m3fn','float8e4m3fnuz','float8e5m2','float8e5m2fnuz','float4e2m1']
for q in QT:
    z=(lambda s: np.zeros(s,dtype=NP[q])) if q.startswith('float') else (lambda s: data(q,s,0,1))
    for t in ['float','float16','bfloat16']:
        x=data(t,(3,6),-9,9)
        case('QuantizeLinear',[x,np.array(.5,dtype=NP[t]),z(())]); case('QuantizeLinear',[x,(rng.random(6)+.2).astype(NP[t]),z((6,))]); case('QuantizeLinear',[x,(rng.random((3,3))+.2).astype(NP[t]),z((3,3))],dict(axis=1,block_size=2)); case('QuantizeLinear',[x,(rng.random((2,6))+.2).astype(NP[t]),z((2,6))],dict(axis=0,block_size=2))
        y=data(q,(3,6))
        case('DequantizeLinear',[y,np.array(.5,dtype=NP[t]),z(())]); case('DequantizeLinear',[y,(rng.random(3)+.2).astype(NP[t]),z((3,))],dict(axis=0)); case('DequantizeLinear',[y,(rng.random((3,2))+.2).astype(NP[t]),z((3,2))],dict(axis=1,block_size=4))
case('DynamicQuantizeLinear',[data('float',(4,5))],{},3); case('DynamicQuantizeLinear',[np.zeros((3,),np.float32)],{},3); case('DynamicQuantizeLinear',[data('float',(4,5),1,5)],{},3); case('DynamicQuantizeLinear',[data('float',(400,),-5,0.1)],{},3)
for x in [-3,-1,0]:
    case('Range',[np.array(5.),np.array(float(x)),np.array(-0.7)])
# strings
S=np.array(['  hello world ','a,b,,c','', 'x'],dtype=object)
case('StringSplit',[S],{},2); case('StringSplit',[S],dict(delimiter=','),2); case('StringSplit',[S],dict(delimiter=',',maxsplit=1),2); case('StringSplit',[np.array(['a b  c  d ',' q'],dtype=object)],dict(maxsplit=2),2)
case('StringConcat',[S,np.array('!',dtype=object)]); case('RegexFullMatch',[S],dict(pattern='a.*c|x')); 
for r in ['test']:
    case('StringNormalizer',[np.array(['Monday','tuesday','x'],dtype=object)],dict(case_change_action='UPPER',stopwords=['monday'],is_case_sensitive=0))
# microsoft via ort
try:
    import onnxruntime
    for t in ['float']:
        for ta in (0,1):
            for tb in (0,1):
                case('FusedMatMul',[data(t,(2,4,3) if ta else (2,3,4)),data(t,(5,4) if tb else (4,5))],dict(transA=ta,transB=tb,alpha=.3),domain='com.microsoft')
        case('QuickGelu',[data(t,(3,4))],dict(alpha=1.3),domain='com.microsoft'); case('Gelu',[data(t,(3,4))],domain='com.microsoft',tag='ms'); case('FastGelu',[data(t,(3,4),-1,2)],domain='com.microsoft'); case('FastGelu',[data(t,(3,4),-.5,1),data(t,(4,),-.5,1)],domain='com.microsoft'); case('BiasGelu',[data(t,(3,4)),data(t,(4,))],domain='com.microsoft')
    for bits in (4,8,2):
        for K,bs in ((64,32),(40,16)):
            nb=(K+bs-1)//bs; n=7
            B=rng.integers(0,256,(n,nb,bs*bits//8)).astype(np.uint8); sc=rng.random(n*nb).astype(np.float32); zp=rng.integers(0,256,(n*((nb*bits+7)//8))).astype(np.uint8)
            case('MatMulNBits',[data('float',(2,3,K)),B,sc],dict(K=K,N=n,bits=bits,block_size=bs),domain='com.microsoft'); case('MatMulNBits',[data('float',(2,3,K)),B,sc,zp],dict(K=K,N=n,bits=bits,block_size=bs),domain='com.microsoft')
    for b in ['int8','uint8']:
        case('DynamicQuantizeMatMul',[data('float',(3,4)),data(b,(4,5),-99,99),np.array([.1],dtype=np.float32),data(b,(1,))],domain='com.microsoft'); case('DynamicQuantizeMatMul',[data('float',(3,4)),data(b,(4,5),-99,99),rng.random(5).astype(np.float32),data(b,(5,)),data('float',(5,))],domain='com.microsoft')
        case('MatMulIntegerToFloat',[data('uint8',(3,4),0,200),data(b,(4,5),-99,99),np.array([.1],dtype=np.float32),np.array([.2],dtype=np.float32),data('uint8',(1,)),data(b,(1,)),data('float',(5,))],domain='com.microsoft')
except ImportError: print('no ort')
print(sum(cnt.values()),'cases',len(fails),'not evaluated')
import collections
for f in fails[:60]: print(f)
