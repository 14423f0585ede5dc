//go:build cuda && linux && (amd64 || arm64)

// Each driver function is a jump through a pointer that the constructor below
// fills from libcuda.so.1, or with a function that reports the lack of it.

#include <dlfcn.h>

#define DRIVER_FUNCTIONS \
	X(cuArray3DCreate_v2) \
	X(cuArray3DGetDescriptor_v2) \
	X(cuArrayCreate_v2) \
	X(cuArrayDestroy) \
	X(cuArrayGetDescriptor_v2) \
	X(cuCtxCreate_v2) \
	X(cuCtxDestroy_v2) \
	X(cuCtxDisablePeerAccess) \
	X(cuCtxEnablePeerAccess) \
	X(cuCtxGetApiVersion) \
	X(cuCtxGetCacheConfig) \
	X(cuCtxGetCurrent) \
	X(cuCtxGetDevice) \
	X(cuCtxGetFlags) \
	X(cuCtxGetLimit) \
	X(cuCtxGetSharedMemConfig) \
	X(cuCtxGetStreamPriorityRange) \
	X(cuCtxPopCurrent_v2) \
	X(cuCtxPushCurrent_v2) \
	X(cuCtxResetPersistingL2Cache) \
	X(cuCtxSetCacheConfig) \
	X(cuCtxSetCurrent) \
	X(cuCtxSetLimit) \
	X(cuCtxSetSharedMemConfig) \
	X(cuCtxSynchronize) \
	X(cuDeviceCanAccessPeer) \
	X(cuDeviceGet) \
	X(cuDeviceGetAttribute) \
	X(cuDeviceGetCount) \
	X(cuDeviceGetName) \
	X(cuDeviceGetP2PAttribute) \
	X(cuDeviceGetUuid) \
	X(cuDevicePrimaryCtxGetState) \
	X(cuDevicePrimaryCtxRelease_v2) \
	X(cuDevicePrimaryCtxReset_v2) \
	X(cuDevicePrimaryCtxRetain) \
	X(cuDevicePrimaryCtxSetFlags_v2) \
	X(cuDeviceTotalMem_v2) \
	X(cuDriverGetVersion) \
	X(cuEventCreate) \
	X(cuEventDestroy_v2) \
	X(cuEventElapsedTime) \
	X(cuEventQuery) \
	X(cuEventRecord) \
	X(cuEventSynchronize) \
	X(cuFuncGetAttribute) \
	X(cuFuncSetAttribute) \
	X(cuFuncSetCacheConfig) \
	X(cuFuncSetSharedMemConfig) \
	X(cuGetErrorName) \
	X(cuGraphAddChildGraphNode) \
	X(cuGraphAddDependencies) \
	X(cuGraphAddEmptyNode) \
	X(cuGraphAddHostNode) \
	X(cuGraphAddKernelNode_v2) \
	X(cuGraphAddMemcpyNode) \
	X(cuGraphAddMemsetNode) \
	X(cuGraphClone) \
	X(cuGraphCreate) \
	X(cuGraphDestroy) \
	X(cuGraphDestroyNode) \
	X(cuGraphExecDestroy) \
	X(cuGraphGetEdges) \
	X(cuGraphInstantiateWithFlags) \
	X(cuGraphLaunch) \
	X(cuInit) \
	X(cuLaunchKernel) \
	X(cuLinkAddData_v2) \
	X(cuLinkAddFile_v2) \
	X(cuLinkComplete) \
	X(cuLinkCreate_v2) \
	X(cuLinkDestroy) \
	X(cuMemAdvise) \
	X(cuMemAllocManaged) \
	X(cuMemAllocPitch_v2) \
	X(cuMemAlloc_v2) \
	X(cuMemFreeHost) \
	X(cuMemFree_v2) \
	X(cuMemGetAddressRange_v2) \
	X(cuMemGetInfo_v2) \
	X(cuMemHostAlloc) \
	X(cuMemPrefetchAsync) \
	X(cuMemcpy) \
	X(cuMemcpy2DAsync_v2) \
	X(cuMemcpy2DUnaligned_v2) \
	X(cuMemcpy2D_v2) \
	X(cuMemcpy3DAsync_v2) \
	X(cuMemcpy3DPeer) \
	X(cuMemcpy3DPeerAsync) \
	X(cuMemcpy3D_v2) \
	X(cuMemcpyAsync) \
	X(cuMemcpyAtoA_v2) \
	X(cuMemcpyAtoD_v2) \
	X(cuMemcpyAtoHAsync_v2) \
	X(cuMemcpyAtoH_v2) \
	X(cuMemcpyDtoA_v2) \
	X(cuMemcpyDtoDAsync_v2) \
	X(cuMemcpyDtoD_v2) \
	X(cuMemcpyDtoHAsync_v2) \
	X(cuMemcpyDtoH_v2) \
	X(cuMemcpyHtoAAsync_v2) \
	X(cuMemcpyHtoA_v2) \
	X(cuMemcpyHtoDAsync_v2) \
	X(cuMemcpyHtoD_v2) \
	X(cuMemcpyPeer) \
	X(cuMemcpyPeerAsync) \
	X(cuMemsetD16Async) \
	X(cuMemsetD16_v2) \
	X(cuMemsetD2D16Async) \
	X(cuMemsetD2D16_v2) \
	X(cuMemsetD2D32Async) \
	X(cuMemsetD2D32_v2) \
	X(cuMemsetD2D8Async) \
	X(cuMemsetD2D8_v2) \
	X(cuMemsetD32Async) \
	X(cuMemsetD32_v2) \
	X(cuMemsetD8Async) \
	X(cuMemsetD8_v2) \
	X(cuModuleGetFunction) \
	X(cuModuleGetGlobal_v2) \
	X(cuModuleGetSurfRef) \
	X(cuModuleGetTexRef) \
	X(cuModuleLoad) \
	X(cuModuleLoadData) \
	X(cuModuleLoadDataEx) \
	X(cuModuleLoadFatBinary) \
	X(cuModuleUnload) \
	X(cuOccupancyMaxActiveBlocksPerMultiprocessor) \
	X(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags) \
	X(cuPointerGetAttribute) \
	X(cuPointerSetAttribute) \
	X(cuStreamAttachMemAsync) \
	X(cuStreamBeginCapture_v2) \
	X(cuStreamCreate) \
	X(cuStreamCreateWithPriority) \
	X(cuStreamDestroy_v2) \
	X(cuStreamEndCapture) \
	X(cuStreamGetFlags) \
	X(cuStreamGetPriority) \
	X(cuStreamQuery) \
	X(cuStreamSynchronize) \
	X(cuStreamWaitEvent) \
	X(cuStreamWaitValue32_v2) \
	X(cuStreamWriteValue32_v2) \
	X(cuSurfRefGetArray) \
	X(cuSurfRefSetArray) \
	X(cuTexRefGetAddressMode) \
	X(cuTexRefGetAddress_v2) \
	X(cuTexRefGetArray) \
	X(cuTexRefGetBorderColor) \
	X(cuTexRefGetFilterMode) \
	X(cuTexRefGetFlags) \
	X(cuTexRefGetFormat) \
	X(cuTexRefGetMaxAnisotropy) \
	X(cuTexRefSetAddress2D_v3) \
	X(cuTexRefSetAddressMode) \
	X(cuTexRefSetAddress_v2) \
	X(cuTexRefSetArray) \
	X(cuTexRefSetBorderColor) \
	X(cuTexRefSetFilterMode) \
	X(cuTexRefSetFlags) \
	X(cuTexRefSetFormat) \
	X(cuTexRefSetMaxAnisotropy) \
	X(cuTexRefSetMipmapFilterMode) \
	X(cuTexRefSetMipmapLevelBias) \
	X(cuTexRefSetMipmapLevelClamp)

#if defined(__x86_64__)
#define JUMP(name) "jmp *moec_" name "(%rip)\n"
#else
#define JUMP(name) \
	"adrp x16, moec_" name "\n" \
	"ldr x16, [x16, :lo12:moec_" name "]\n" \
	"br x16\n"
#endif

#define X(name) \
	__attribute__((visibility("hidden"))) void *moec_##name; \
	__asm__(".text\n.globl " #name "\n.type " #name ", %function\n" #name ":\n" JUMP(#name));
DRIVER_FUNCTIONS
#undef X

static int no_device(void) { return 100; } // CUDA_ERROR_NO_DEVICE
static int ok(void) { return 0; }

__attribute__((constructor)) static void load_driver(void) {
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
	if (!lib)
		lib = dlopen("libcuda.so", RTLD_NOW | RTLD_GLOBAL);
#define X(name) \
	moec_##name = lib ? dlsym(lib, #name) : 0; \
	if (!moec_##name) moec_##name = (void *)no_device;
	DRIVER_FUNCTIONS
#undef X
	int (*init)(unsigned) = (int (*)(unsigned))moec_cuInit;
	if (init(0) != 0) {
		// The driver is missing, broken or without a device: keep its other
		// answers, but let the program start and report them.
		moec_cuInit = (void *)ok;
	}
}
